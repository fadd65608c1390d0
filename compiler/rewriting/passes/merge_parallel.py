"""Linear branches of one input that are added, made one map, where that costs no more.

Convolutions of any kernel sizes and dilations, a batch norm, a scale or nothing at all beside them, as in
re-parameterised networks (arXiv:2101.03697, arXiv:2203.06717, arXiv:2311.15599).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

from ...graph.graph import Node, Value
from ...ops.conv import ConvWith
from ...sizes.dims import Size, prod
from ..editor import Editor
from ..match import Facts, Match, Reject, anything, op
from ..rule import Rule
from .affine import Affine, affine
from .linear_maps import fixed_weights, groups_of, operand, sum_of, times, vector, weight_of

_MAPS = ("conv_with", "linear_with")


@dataclass(frozen=True)
class Branch:
    """One summand: a map of the input, a scale and shift of it, or the input itself."""

    value: Value
    map: Node | None = None
    affine: Affine | None = None

    @property
    def nodes(self) -> list[Node]:
        """The operators of the branch."""
        return [] if self.map is None and self.affine is None else [self.value.node]


def _branches(match: Match) -> tuple[Branch, Branch] | None:
    """The summands, if they have one input and at least one is a map."""
    x, y = match["x"], match["y"]
    if x.type != y.type or x is y:
        return None
    for value in (x, y):
        if value.node.op.name in _MAPS:
            source = value.node.inputs[0]
            left, right = (_branch(each, source, match.facts) for each in (x, y))
            if left is not None and right is not None and _alike(left, right):
                return left, right
    return None


def _branch(value: Value, source: Value, facts: Facts) -> Branch | None:
    if value is source:
        return Branch(value)
    node = value.node
    if node.op.name in _MAPS:
        return Branch(value, map=node) if node.inputs[0] is source else None
    found = affine(node, facts)
    return Branch(value, affine=found) if found is not None and found.x is source else None


def _alike(left: Branch, right: Branch) -> bool:
    return left.map is None or right.map is None or left.map.op.name == right.map.op.name


def _maps(match: Match) -> tuple[Node, ...]:
    found = _branches(match)
    assert found is not None
    return tuple(branch.map for branch in found if branch.map is not None)


def _check(match: Match) -> Reject | None:
    found = _branches(match)
    assert found is not None
    maps = _maps(match)
    for branch in found:
        refused = match.read_once(branch.value) if branch.nodes else None
        if refused is not None:
            return refused
    for node in maps:
        refused = fixed_weights(match, node)
        if refused is not None:
            return refused
    return _check_affine(found, maps[0]) or (
        None if maps[0].op.name == "linear_with" else _check_convolutions(found, maps)
    )


def _check_affine(branches: tuple[Branch, Branch], map: Node) -> Reject | None:
    wanted = 1 if map.op.name == "conv_with" else len(map.inputs[0].shape) - 1
    for branch in branches:
        this = branch.affine
        if this is not None and this.axis not in (None, wanted):
            return Reject(
                f"{this.node.op.title} works along axis {this.axis}, not along the channels", this.node
            )
    return None


def _check_convolutions(branches: tuple[Branch, Branch], maps: tuple[Node, ...]) -> Reject | None:
    strides: set[tuple[Size, ...]] = set()
    for node in maps:
        op: Any = node.op
        rank = len(node.inputs[0].shape) - 2
        if op.pad == "tf_same" or not all(isinstance(size, int) for size in weight_of(node).shape):
            return Reject("its padding depends on sizes that are known only when it runs", node)
        stride, _, pads = op.window(node.inputs[0].shape[2:], weight_of(node).shape[2:])
        if not all(isinstance(size, int) for pair in pads for size in pair):
            return Reject("its padding depends on sizes that are known only when it runs", node)
        strides.add(tuple(stride))
        if len(maps) == 1:
            strides.add((1,) * rank)
    last = maps[-1]
    if len(strides) > 1:
        return Reject("the branches have different strides", last)
    if len({groups_of(node) for node in maps}) > 1:
        first, second = (groups_of(node) for node in maps)
        return Reject(f"the branches have {first} and {second} groups", last)
    taps = prod(axis.taps for axis in _axes(branches))
    before = sum(_count(node) for node in maps)
    if isinstance(taps, int) and taps > before:
        return Reject(f"one kernel has {taps} taps, and the branches have {before}", last)
    return None


def _count(node: Node) -> int:
    found = prod(weight_of(node).shape[2:])
    assert isinstance(found, int)
    return found


# --- where the taps lie ---


@dataclass(frozen=True)
class Reach:
    """The taps of a kernel along an axis: at `first`, `first + step`, ... `last` from a result's place.

    `after` is the padding behind.
    """

    first: int
    last: int
    step: int
    after: int

    @property
    def taps(self) -> int:
        """How many taps there are."""
        return (self.last - self.first) // self.step + 1


def _reach(branch: Branch, rank: int) -> list[Reach]:
    """The taps of a branch along each axis; what is no convolution has one, in its place."""
    if branch.map is None:
        return [Reach(0, 0, 1, 0)] * rank
    op: Any = branch.map.op
    taps = weight_of(branch.map).shape[2:]
    _, dilation, pads = op.window(branch.map.inputs[0].shape[2:], taps)
    return [
        Reach(-before, (size - 1) * step - before, step if size > 1 else 1, after)
        for size, step, (before, after) in zip(taps, dilation, pads, strict=True)
    ]


def _axes(branches: tuple[Branch, Branch]) -> list[Reach]:
    """The taps of the kernel that has those of both."""
    rank = len(branches[0].value.shape) - 2
    return [_union(a, b) for a, b in zip(*(_reach(branch, rank) for branch in branches), strict=True)]


def _union(a: Reach, b: Reach) -> Reach:
    first, last = min(a.first, b.first), max(a.last, b.last)
    step = gcd(a.first - b.first, *(reach.step for reach in (a, b) if reach.taps > 1)) or 1
    # As many windows as before: the padding grows by what the kernel does.
    return Reach(first, last, step, a.after + last - a.last)


# --- the merged map ---


def _merge(match: Match, edit: Editor) -> Value:
    branches = _branches(match)
    assert branches is not None
    maps = _maps(match)
    for branch in branches:
        match.cover(*branch.nodes)
    like = weight_of(maps[0])
    source = maps[0].inputs[0]
    channels = match.root.results[0].shape[1 if maps[0].op.name == "conv_with" else -1]
    biases = [_bias(edit, branch, channels, like) for branch in branches]
    if maps[0].op.name == "linear_with":
        weights = [_matrix(edit, branch, channels, 1, like) for branch in branches]
        op: Any = maps[0].op
    else:
        axes = _axes(branches)
        old: Any = maps[0].op
        stride, _, _ = old.window(source.shape[2:], like.shape[2:])
        op = ConvWith(
            stride=stride,
            pad=tuple((-axis.first, axis.after) for axis in axes),
            dilation=tuple(axis.step for axis in axes),
            groups=groups_of(maps[0]),
        )
        weights = [_kernel(edit, branch, channels, axes, groups_of(maps[0]), like) for branch in branches]
    weight = edit.add("add", *weights)
    return edit.apply(op, source, weight, sum_of(edit, *biases), path=maps[0].path).results[0]


def _bias(edit: Editor, branch: Branch, channels: Size, like: Value) -> Value | None:
    if branch.map is not None:
        return operand(branch.map, "bias")
    if branch.affine is not None and branch.affine.shift is not None:
        return vector(edit, branch.affine.shift(edit), channels, like)
    return None


def _matrix(edit: Editor, branch: Branch, channels: Size, groups: int, like: Value) -> Value:
    """The branch's weight; [C, C/groups] of one that is no map, with its scale on the diagonal."""
    if branch.map is not None:
        return weight_of(branch.map)
    matrix = edit.add("eye", rows=channels // groups, dtype=like.type.dtype)
    if groups > 1:
        matrix = edit.add("tile", matrix, repeats=(groups, 1))
    if branch.affine is not None and branch.affine.scale is not None:
        matrix = times(edit, matrix, branch.affine.scale(edit), channels, 1)
    return matrix


def _kernel(
    edit: Editor, branch: Branch, channels: Size, axes: list[Reach], groups: int, like: Value
) -> Value:
    """The branch's kernel with zeros where the merged one has more taps."""
    kernel = _matrix(edit, branch, channels, groups, like)
    if branch.map is None:
        kernel = edit.add("reshape", kernel, sizes=(*kernel.shape, *(1,) * len(axes)))
    amounts: list[int] = []
    for axis, (own, whole) in enumerate(zip(_reach(branch, len(axes)), axes, strict=True), start=2):
        if own.taps > 1:
            kernel = _spread(edit, kernel, axis, own.step // whole.step)
        amounts = [(own.first - whole.first) // whole.step, (whole.last - own.last) // whole.step, *amounts]
    return edit.add("pad", kernel, amounts=tuple(amounts)) if any(amounts) else kernel


def _spread(edit: Editor, kernel: Value, axis: int, step: int) -> Value:
    """The kernel with `step - 1` zeros between taps of an axis."""
    if step == 1:
        return kernel
    shape = kernel.shape
    apart = edit.add("reshape", kernel, sizes=(*shape[: axis + 1], 1, *shape[axis + 1 :]))
    behind = (0, 0) * (len(shape) - 1 - axis)
    apart = edit.add("pad", apart, amounts=(*behind, 0, step - 1))
    flat = edit.add("reshape", apart, sizes=(*shape[:axis], shape[axis] * step, *shape[axis + 1 :]))
    return edit.add("slice", flat, axis=axis, start=0, stop=(shape[axis] - 1) * step + 1)


RULES = (
    Rule(
        "merge parallel branches",
        "operators",
        op("add", x=anything("x"), y=anything("y")),
        _merge,
        lambda match: _branches(match) is not None,
        _check,
    ),
)
