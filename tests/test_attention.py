"""Attention in every spelling: one operator that computes the same, and reasons where it is not one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

import planform
from planform.compiler.cost import cost
from planform.compiler.fusion import partition
from planform.compiler.graph.graph import Graph, Value
from planform.compiler.graph.program import Program
from planform.compiler.graph.verify import verify
from planform.compiler.ops.attention import ScaledDotProductAttention
from planform.compiler.rewriting.passes.attention import RULES
from planform.compiler.rewriting.pipeline import deploy, optimise
from planform.compiler.rewriting.rule import Log
from planform.compiler.rewriting.sweep import Pass
from support.eager import run, tensors
from support.graphs import Net
from support.random_graphs import difference, evaluate, random_inputs, three_decades

RULE = Pass("attention", RULES)


def matmul(net: Net) -> Value:
    q, k, v = (net.input(name, 2, 3, size, 4) for name, size in (("q", 5), ("k", 6), ("v", 6)))
    scores = net.call("mul", net.call("matmul", q, net.call("transpose", k)), scalar=0.3)
    return net.call("matmul", net.call("softmax", scores), v)


def masked(net: Net) -> Value:
    q, k, v = (net.input(name, 2, 3, size, 4) for name, size in (("q", 5), ("k", 6), ("v", 6)))
    scores = net.call("div", net.call("matmul", q, net.call("transpose", k)), scalar=2.0)
    scores = net.call("add", net.call("add", scores, net.weight("bias", 3, 5, 6)), net.input("mask", 1, 1, 6))
    return net.call("matmul", net.call("softmax", scores), v)


def scaled_queries(net: Net) -> Value:
    q, k, v = (net.input(name, 2, size, 4) for name, size in (("q", 5), ("k", 6), ("v", 6)))
    scores = net.call("matmul", net.call("mul", q, scalar=0.5), net.call("permute", k, axes=(0, 2, 1)))
    return net.call("matmul", net.call("softmax", scores), v)


def einsum(net: Net) -> Value:
    q, k, v = (net.input(name, 2, size, 3, 4) for name, size in (("q", 5), ("k", 6), ("v", 6)))
    scores = net.call("einsum", q, k, pattern="bnhd,bmhd->bhnm")
    return net.call("einsum", net.call("softmax", scores), v, pattern="b h n m, b m h e -> b n h e")


def turned(net: Net) -> Value:
    """Scores with the keys first, normalised over them, and values first in the second product."""
    q, k, v = net.input("q", 2, 4, 5), net.input("k", 2, 4, 6), net.input("v", 2, 7, 6)
    scores = net.call("add", net.call("einsum", k, q, pattern="bdm,bdn->bmn"), net.weight("bias", 6, 5))
    return net.call("einsum", v, net.call("softmax", scores, axis=1), pattern="bem,bmn->ben")


def mixed(net: Net) -> Value:
    q, k, v = net.input("q", 2, 5, 4), net.input("k", 2, 6, 4), net.input("v", 2, 6, 3)
    scores = net.call("einsum", q, k, pattern="i t c, i s c -> i t s")
    return net.call("matmul", net.call("softmax", scores), v)


@pytest.mark.parametrize("spelling", [matmul, masked, scaled_queries, einsum, turned, mixed])
def test_a_spelling_becomes_one_operator(spelling: Callable[[Net], Value]) -> None:
    net = Net("example")
    graph = net.freeze(spelling(net))
    log = Log()
    found = RULE.run(graph, log)
    verify(found)
    names = [node.op.name for node in optimise(found, check=True).operators()]
    assert names.count("scaled_dot_product_attention") == 1
    assert not {"matmul", "einsum", "softmax", "mul", "div"} & set(names)
    weights, inputs = three_decades(graph.weights), random_inputs(graph)
    assert difference(evaluate(graph, inputs, weights), evaluate(found, inputs, weights)) < 1e-10
    assert RULE.run(found, Log()) is found
    assert len(log.changes) == 1 and not log.refusals
    # The metric that the rule names; and nothing is computed twice.
    assert cost(found).activations() < cost(graph).activations()
    assert cost(found).macs() == cost(graph).macs()
    deployed = deploy(Program("example", {"eval": graph}, graph.weights), check=True).graph
    kinds = [group.kind for group in partition(deployed, blocks=False).groups]
    assert kinds.count("attention") == 1


def refused(net: Net, build: Callable[[Value], Value], axis: int = -1) -> tuple[Graph, Log]:
    q, k, v = (net.input(name, 2, 3, 5, 5) for name in "qkv")
    scores = build(net.call("matmul", q, k))
    probs = net.call("softmax", scores, axis=axis)
    graph = net.freeze(net.call("matmul", probs, v), scores)
    log = Log()
    return RULE.run(graph, log), log


def test_scores_that_are_read_elsewhere_stay() -> None:
    found, log = refused(Net("example"), lambda scores: scores)
    assert "softmax" in [node.op.name for node in found.operators()]
    assert "read once more" in log.refusals[0].reason


def test_a_mask_that_is_scaled_stays() -> None:
    net = Net("example")

    def build(scores: Value) -> Value:
        return net.call("mul", net.call("add", scores, net.input("mask", 5, 5)), scalar=0.5)

    _, log = refused(net, build)
    assert "scaled" in log.refusals[0].reason


@pytest.mark.parametrize(
    "build",
    [
        lambda net, s: net.call("relu", s),
        lambda net, s: net.call("add", s, net.input("mask", 4, 1, 1, 5, 5)),
    ],
)
def test_what_is_no_attention_is_no_refusal(build: Callable[[Net, Value], Value]) -> None:
    net = Net("example")
    q, k = net.input("q", 2, 3, 5, 5), net.input("k", 2, 3, 5, 5)
    probs = net.call("softmax", build(net, net.call("matmul", q, k)))
    graph = net.freeze(net.call("matmul", probs, net.input("v", *probs.shape[:-1], 5)))
    log = Log()
    assert RULE.run(graph, log) is graph
    assert not log.refusals


def test_a_softmax_over_the_queries_is_no_attention() -> None:
    net = Net("example")
    found, log = refused(net, lambda scores: scores, axis=-2)
    assert not log.changes and not log.refusals
    assert "softmax" in [node.op.name for node in found.operators()]


AXES: dict[str, tuple[tuple[int, ...], ...]] = {
    "two": ((5, 8), (6, 8), (6, 8), (6,)),
    "three, a bias of heads": ((3, 5, 8), (3, 6, 8), (3, 6, 8), (3, 5, 6)),
    "three, one key": ((3, 5, 8), (6, 8), (1, 6, 8), ()),
    "four, a bias of heads": ((2, 3, 5, 8), (2, 3, 6, 8), (2, 3, 6, 8), (3, 5, 6)),
    "four, one head of keys": ((2, 3, 5, 8), (2, 1, 6, 8), (1, 3, 6, 8), (1, 1, 1, 6)),
    "windows": ((2, 4, 3, 5, 8), (2, 4, 3, 6, 8), (2, 4, 3, 6, 8), (4, 3, 5, 6)),
    "windows, every one": ((2, 4, 3, 5, 8), (2, 4, 3, 6, 8), (2, 4, 3, 6, 8), (2, 4, 1, 5, 6)),
    "windows, keys of all": ((2, 4, 3, 5, 8), (2, 1, 3, 6, 8), (3, 6, 8), (2, 1, 1, 1, 6)),
    "six": ((2, 1, 4, 3, 5, 8), (1, 2, 4, 3, 6, 8), (2, 2, 1, 1, 6, 8), (2, 4, 1, 5, 6)),
}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("gqa", [False, True])
def test_any_leading_axes_take_the_fast_kernel_of_torch(name: str, gqa: bool) -> None:
    shapes = AXES[name]
    if gqa and len(shapes[0]) < 3:
        pytest.skip("there are no heads")
    q, k, v, mask = tensors([("f64", shape) for shape in shapes], "f64")
    if gqa:
        q = q.repeat_interleave(2, -3)
        k, v = (
            x.expand(*x.shape[:-3], 3, *x.shape[-2:]) if x.dim() > 2 else x.expand(3, 6, 8) for x in (k, v)
        )
        mask = mask[..., :1, :, :] if mask.dim() > 2 else mask
    op = ScaledDotProductAttention(gqa=gqa)
    slots = ("q", "k", "v", "mask")
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):  # an error where that cannot be
        (found,) = run(op, slots, [q, k, v, mask], "f64")
    shape = op.shape(*(tuple(x.shape) for x in (q, k, v, mask)))
    if gqa:
        k, v = k.repeat_interleave(2, -3), v.repeat_interleave(2, -3)
    expected = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5 + mask, -1) @ v
    assert found.shape == expected.shape == shape
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_mask_of_windows_is_not_copied_for_one_image() -> None:
    """Nor is a mask that every image and window shares, however many there are."""
    seen: list[int] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            if func is torch.nn.functional.scaled_dot_product_attention:
                seen.append(args[3].untyped_storage().data_ptr())
            return func(*args, **(kwargs or {}))

    for images, shape in ((1, (4, 3, 5, 5)), (2, (3, 5, 5)), (2, (1, 1, 1, 5, 5)), (2, (2, 4, 1, 5, 5))):
        q, mask = torch.randn(images, 4, 3, 5, 8), torch.randn(*shape)
        with Watch():
            run(ScaledDotProductAttention(), ("q", "k", "v", "mask"), [q, q, q, mask])
        assert seen.pop() == mask.untyped_storage().data_ptr()


def test_free_leading_axes_too(tmp_path: Path) -> None:
    path = tmp_path / "windows.plan"
    path.write_text("""planform 1
model attention(q: [B, K, 3, N, 8], k: [B, K, 3, M, 8], mask: [K, 1, N, M]) -> [B, K, 3, N, 8] {
    return (q, k, k, mask) -> scaled_dot_product_attention()
}
plan windows = attention()
""")
    module = planform.load(path).to_torch(dtype=torch.float64).eval()
    for images, windows in ((1, 4), (3, 2)):
        q, k = torch.randn(images, windows, 3, 5, 8).double(), torch.randn(images, windows, 3, 6, 8).double()
        mask = torch.randn(windows, 1, 5, 6).double()
        expected = torch.softmax(q @ k.mT / 8**0.5 + mask, -1) @ k
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            torch.testing.assert_close(module(q, k, mask), expected, rtol=1e-12, atol=1e-12)
