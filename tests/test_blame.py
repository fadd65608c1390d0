"""Where sizes come from: of many errors, the place that is blamed, over many operators.

Each row is the body of a model over `x: [2, 16, 32, 48]`, in which `z` is the value whose size is wrong: it is
added to a tensor of the number of axes that it has, all sizes 7 but one. Marked with `«»` is the call that has
set the size of that axis, and the text is what is said of it.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

import planform
from planform.compiler.graph.axes import Axis, source_axis
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Node
from planform.compiler.ops import registry
from planform.compiler.ops.core.rules import ShapeError
from planform.compiler.types import TensorType
from planform.dsl.diagnostics import Label
from support.opcases import Application, application

# (statements, shape of z, axis, what is said at the mark)
ROWS: list[tuple[str, str, int, str]] = [
    # Sizes that pass through keep their origin, whatever other sizes are equal.
    ("z = x -> «conv(32, 3, pad=1)» -> relu()", "[2, 32, 32, 48]", 1, "32 is given here"),
    ("z = «x» -> conv(32, 3, pad=1) -> relu()", "[2, 32, 32, 48]", 2, "32 is a size of this input"),
    ("z = x -> «conv(16, 3, stride=2, pad=1)»", "[2, 16, 16, 24]", 2, "16 comes from here"),
    (
        "z = x -> b: conv(4, 3, stride=8, pad=1) -> «resize(scale=4)»",
        "[2, 4, 16, 24]",
        2,
        "16 comes from here",
    ),
    (
        "z = x -> b: «conv(24, 3, stride=8, pad=1)» -> resize(scale=4)",
        "[2, 24, 16, 24]",
        1,
        "24 is given here",
    ),
    (
        "z = x -> b: conv(16, 3, stride=16, pad=1) -> «resize(scale=8)»",
        "[2, 16, 16, 32]",
        2,
        "16 comes from here",
    ),
    (
        "z = x -> «conv(groups=4, out=32, kernel=1)» -> batch_norm() -> gelu()",
        "[2, 32, 32, 48]",
        1,
        "32 is given here",
    ),
    ("z = x -> «conv_transpose(24, 2, stride=2)»", "[2, 24, 64, 96]", 1, "24 is given here"),
    ("z = x -> «conv_transpose(24, 2, stride=2)»", "[2, 24, 64, 96]", 3, "96 comes from here"),
    ("z = x -> «linear(16)»", "[2, 16, 32, 16]", 3, "16 is given here"),
    ("z = «x» -> linear(16)", "[2, 16, 32, 16]", 1, "16 is a size of this input"),
    ("w = 4\nz = x -> «linear(4 * w)»", "[2, 16, 32, 16]", 3, "16 = 4 * w, with w = 4"),
    # Permutations, views, splits and merges.
    ("z = x -> «conv(48, 1)» -> transpose(1, 3)", "[2, 48, 32, 48]", 3, "48 is given here"),
    ("z = «x» -> conv(48, 1) -> transpose(1, 3)", "[2, 48, 32, 48]", 1, "48 is a size of this input"),
    ("z = x -> «conv(32, 1)» -> permute([0, 2, 3, 1])", "[2, 32, 48, 32]", 3, "32 is given here"),
    ("z = x -> «flatten(2)»", "[2, 16, 1536]", 2, "1536 comes from here"),
    ("z = «x» -> flatten(2)", "[2, 16, 1536]", 1, "16 is a size of this input"),
    ('z = x -> «rearrange("b (g c) h w -> b g c (h w)", g=4)»', "[2, 4, 4, 1536]", 2, "4 comes from here"),
    ('z = «x» -> rearrange("b c h w -> b h w c")', "[2, 32, 48, 16]", 3, "16 is a size of this input"),
    ("z = x -> «reshape([2, 16, 1536])»", "[2, 16, 1536]", 1, "16 comes from here"),
    ("z = x -> «unflatten(1, [2, 8])»", "[2, 2, 8, 32, 48]", 2, "8 comes from here"),
    ("z = «x» -> unflatten(1, [2, 8])", "[2, 2, 8, 32, 48]", 0, "2 is a size of this input"),
    ("z = x -> «pixel_shuffle(2)»", "[2, 4, 64, 96]", 1, "4 comes from here"),
    ("z = «x» -> channel_shuffle(4)", "[2, 16, 32, 48]", 1, "16 is a size of this input"),
    ("z = «x» -> unsqueeze(1) -> squeeze(1)", "[2, 16, 32, 48]", 1, "16 is a size of this input"),
    ("z = «x» -> flip(1) -> roll(3, 1)", "[2, 16, 32, 48]", 1, "16 is a size of this input"),
    # Windows and pools.
    ("z = x -> «max_pool(2)»", "[2, 16, 16, 24]", 2, "16 comes from here"),
    ("z = «x» -> max_pool(2)", "[2, 16, 16, 24]", 1, "16 is a size of this input"),
    ("z = x -> «adaptive_avg_pool([16, 8])»", "[2, 16, 16, 8]", 2, "16 is given here: [16, 8]"),
    ("z = «x» -> adaptive_avg_pool([16, 8])", "[2, 16, 16, 8]", 1, "16 is a size of this input"),
    ("z = x -> «pad([1, 1, 2, 2])»", "[2, 16, 36, 50]", 3, "50 comes from here"),
    ("z = «x» -> avg_pool(3, stride=1, pad=1)", "[2, 16, 32, 48]", 2, "32 is a size of this input"),
    # Slices, joins and selections.
    ("z = «x[:, 4:]»", "[2, 12, 32, 48]", 1, "12 comes from here"),
    ("z = «x»[:, 4:]", "[2, 12, 32, 48]", 2, "32 is a size of this input"),
    ("y = x -> conv(16, 1)\nz = «concat([x, y], axis=1)»", "[2, 32, 32, 48]", 1, "32 comes from here"),
    ("y = x -> conv(16, 1)\nz = «stack([x, y], axis=1)»", "[2, 2, 16, 32, 48]", 1, "2 comes from here"),
    ("y, z = x -> «split([4, 12], axis=1)»", "[2, 12, 32, 48]", 1, "12 comes from here"),
    ("z = «narrow(x, 1, 0, 8)»", "[2, 8, 32, 48]", 1, "8 is given here"),
    ("i = arange(5)\nz = «x» -> index_select(i, axis=1)", "[2, 5, 32, 48]", 2, "32 is a size of this input"),
    ("i = «arange(5)»\nz = x -> index_select(i, axis=1)", "[2, 5, 32, 48]", 1, "5 is given here"),
    ("z = x -> «repeat_interleave(2, axis=1)»", "[2, 32, 32, 48]", 1, "32 comes from here"),
    ("y, i = «top_k(x, 16, axis=3)»\nz = y", "[2, 16, 32, 16]", 3, "16 is given here"),
    # Reductions and products.
    ("z = «x» -> mean(axis=2, keepdim=true)", "[2, 16, 1, 48]", 3, "48 is a size of this input"),
    ("z = «x» -> sum(axis=1)", "[2, 32, 48]", 1, "32 is a size of this input"),
    ("z = «x» @ transpose(x, 2, 3)", "[2, 16, 32, 32]", 1, "16 is a size of this input"),
    (
        "y = x -> «conv(16, 1)» -> transpose(1, 3)\nz = x @ (x -> transpose(2, 3)) -> mean(axis=1)\nz = y",
        "[2, 48, 32, 16]",
        3,
        "16 is given here",
    ),
    (
        'y = «zeros([48, 16])»\nz = einsum(x, y, "b c h w, w d -> b c h d")',
        "[2, 16, 32, 16]",
        3,
        "16 is given here: [48, 16]",
    ),
    (
        'z = einsum(«x», zeros([48, 16]), "b c h w, w d -> b c h d")',
        "[2, 16, 32, 16]",
        1,
        "16 is a size of this input",
    ),
    # Element by element: the operand that has the size, not the one that stretches.
    ("z = zeros([2, 1, 32, 48]) + «x»", "[2, 16, 32, 48]", 1, "16 is a size of this input"),
    (
        "y = x -> «conv(16, 1)»\nz = where(y > 0, zeros([2, 1, 32, 48]), 1.0)",
        "[2, 16, 32, 48]",
        1,
        "16 is given here",
    ),
    (
        "z = «x» -> clamp(0, 1) -> softmax(axis=1) -> dropout(0.1)",
        "[2, 16, 32, 48]",
        3,
        "48 is a size of this input",
    ),
    (
        'z = x -> «conv(24, 1)» -> group_norm(4) -> glu(axis=3) -> cast("f64") -> cast("float")',
        "[2, 24, 32, 24]",
        1,
        "24 is given here",
    ),
    ("z = x -> conv(24, 1) -> group_norm(4) -> «glu(axis=3)»", "[2, 24, 32, 24]", 3, "24 comes from here"),
    # Made by the call, and weights.
    ("z = «zeros([2, 16, 16])»", "[2, 16, 16]", 1, "16 is given here: [2, 16, 16]"),
    ("z = «one_hot(arange(16), 16)»", "[16, 16]", 1, "16 is given here"),
    ("z = one_hot(«arange(16)», 16)", "[16, 16]", 0, "16 is given here"),
    ("«param w: [16, 16]»\nz = w", "[16, 16]", 0, "16 here"),
    (
        'i = «zeros([2, 16], dtype="i64")»\nz = i -> emb: embedding(100, 16)',
        "[2, 16, 16]",
        1,
        "16 is given here: [2, 16]",
    ),
    (
        'i = zeros([2, 16], dtype="i64")\nz = i -> emb: «embedding(100, 16)»',
        "[2, 16, 16]",
        2,
        "16 is given here",
    ),
    ("z = x -> «unfold(2, stride=2)»", "[2, 64, 384]", 1, "64 comes from here"),
    (
        "a = x -> flatten(2) -> transpose(1, 2)\nz = scaled_dot_product_attention(a, a, a) -> «linear(16)»",
        "[2, 1536, 16]",
        2,
        "16 is given here",
    ),
    ("z = rfft(«x»)", "[2, 16, 32, 25]", 1, "16 is a size of this input"),
    ("z = «rfft(x)» -> real()", "[2, 16, 32, 25]", 3, "25 comes from here"),
    ("z = «x» -> cumsum(axis=1)", "[2, 16, 32, 48]", 1, "16 is a size of this input"),
]


def origin(statements: str, shape: str, axis: int) -> tuple[str, list[Label]]:
    """The text of the place that a mark stands for, and the labels of the error."""
    sizes = [int(size) for size in re.findall(r"\d+", shape)]
    other = [1] * len(sizes)
    other[axis] = 7
    plain = statements.replace("«", "").replace("»", "")
    body = "".join(f"    {line}\n" for line in plain.split("\n"))
    text = f"planform 1\n\nmodel net(x: [2, 16, 32, 48]) {{\n{body}    return z + zeros({other})\n}}\n\nplan p = net()\n"
    found = planform.PlanFile.from_text(text).check().diagnostics
    assert [each.code for each in found] == ["E301"], [each.message for each in found]
    assert (
        found[0].message == f"`net` adds two tensors whose sizes of axis {axis} differ: {sizes[axis]} and 7"
    )
    return statements[statements.index("«") + 1 : statements.index("»")], list(found[0].secondary)


@pytest.mark.parametrize(("statements", "shape", "axis", "said"), ROWS, ids=[row[0] for row in ROWS])
def test_the_place_that_set_the_size_is_blamed(statements: str, shape: str, axis: int, said: str) -> None:
    place, labels = origin(statements, shape, axis)
    # The other operand is made in the sum itself.
    other = f"zeros({[7 if at == axis else 1 for at in range(shape.count(',') + 1)]})"
    own = [label for label in labels if label.span.text != other]
    assert len(own) == 1, [(label.span.text, label.text) for label in labels]
    assert own[0].text.startswith(said), own[0].text
    blamed = own[0].span.text
    if place == "x":
        assert blamed.startswith("x: [")
    else:
        assert blamed == place


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x @ x", "`net` multiplies (`@`) two tensors whose inner sizes (axis 3 of the left and axis 2 of the right) differ: 48 and 32"),
        ("matmul(x, zeros([5]))", "`matmul`: inner sizes (axis 3 of the left and axis 0 of the right) differ: 48 and 5"),
        # Axis 1 of [B, H, W, D] holds no channels.
        ("(x -> permute([0, 2, 3, 1])) + zeros([2, 7, 48, 16])", "`net` adds two tensors whose sizes of axis 1 differ: 32 and 7"),
    ],
)  # fmt: skip
def test_axes_are_named_by_what_is_known_of_them(body: str, message: str) -> None:
    text = f"planform 1\n\nmodel net(x: [2, 16, 32, 48]) {{\n    return {body}\n}}\n\nplan p = net()\n"
    (found,) = planform.PlanFile.from_text(text).check().diagnostics
    assert found.message == message


def applied(sample: Application) -> Node | None:
    """A sample as a node of a graph, with inputs for its operands; None where it needs more."""
    op, slots, types = sample.core()
    builder = Builder("sample")
    values = [builder.input(f"x{number}", type) for number, type in enumerate(types)]
    try:
        return builder.add(op, values, slots)
    except (ShapeError, TypeError, ValueError):
        return None


def test_axes_that_pass_through_follow_when_they_grow() -> None:
    """Over the registry: an operand's axis that a result's is said to be grows with it, alone among its axes."""
    followed = made = 0
    for operator in registry().values():
        for sample in operator.samples:
            node = applied(application(operator, sample))
            if node is None:
                continue
            for result, value in enumerate(node.results):
                for axis, size in enumerate(value.shape):
                    source = source_axis(node, result, axis)
                    made += source is False
                    if not isinstance(source, Axis):
                        continue
                    assert node.inputs[source.input].shape[source.axis] == size
                    for factor in (2, 3):
                        grown = shape_with(node, source, factor, result)
                        if grown is not None:
                            followed += 1
                            assert grown[axis] == factor * size, (str(node.op), axis, source)
    assert followed > 600 and made > 200


def shape_with(node: Node, grown: Axis, factor: int, result: int) -> tuple[Any, ...] | None:
    """The shape of a result where one axis of an operand is larger; None where that is refused."""
    types = [value.type for value in node.inputs]
    sizes = list(types[grown.input].shape)
    sizes[grown.axis] *= factor
    types[grown.input] = TensorType(tuple(sizes), types[grown.input].dtype)
    try:
        return node.op.infer(tuple(types), node.slots)[0][result].shape
    except ShapeError:
        return None
