"""Patterns of named axes against einops: which are accepted, and what they compute."""

from __future__ import annotations

from typing import Any

import einops
import pytest
import torch

from planform.compiler.ops.core.rules import ShapeError
from planform.compiler.ops.einops import PatternOp, Rearrange, Reduce, Repeat
from planform.compiler.sizes.dims import symbol
from planform.compiler.types import TensorType
from support.eager import run

# Operator, pattern, shape of the input, sizes.
CASES: list[tuple[str, str, tuple[int, ...], dict[str, int]]] = [
    ("rearrange", "a b c -> c b a", (2, 3, 4), {}),
    ("rearrange", "a b c -> (c b a)", (2, 3, 4), {}),
    ("rearrange", "(a b c) -> c b a", (24,), {"a": 2, "b": 3}),
    ("rearrange", "(a b c) -> c b a", (24,), {"a": 2, "b": 3, "c": 4}),
    ("rearrange", "(a b c) -> c b a", (24,), {"a": 2, "b": 3, "c": 5}),
    ("rearrange", "(a b c) -> c b a", (24,), {"a": 2}),
    ("rearrange", "(a b) -> a b", (24,), {"a": 5}),
    ("rearrange", "... -> ...", (2, 3), {}),
    ("rearrange", "... -> (...)", (2, 3), {}),
    ("rearrange", "... a -> a ...", (2, 3, 4), {}),
    ("rearrange", "a ... -> ... a 1", (2,), {}),
    ("rearrange", "a ... b -> (a b) ...", (2, 3, 4, 5), {}),
    ("rearrange", "a ... b -> a (... b)", (2, 3, 4, 5), {}),
    ("rearrange", "a ... b -> a b", (2, 3, 4), {}),
    ("rearrange", "(a ...) -> a ...", (2, 3), {"a": 2}),
    ("rearrange", "a b -> a ...", (2, 3), {}),
    ("rearrange", "a b -> a", (2, 3), {}),
    ("rearrange", "a -> a b", (2,), {"b": 3}),
    ("rearrange", "a 1 b () -> () b a", (2, 1, 3, 1), {}),
    ("rearrange", "a 1 -> a", (2, 3), {}),
    ("rearrange", "(1 a) b -> a (b 1)", (2, 3), {}),
    ("rearrange", "a 2 -> a", (2, 2), {}),
    ("rearrange", "a a -> a", (2, 2), {}),
    ("rearrange", "a b -> a a", (2, 2), {}),
    ("rearrange", "(a (b c)) -> a b c", (24,), {"a": 2, "b": 3}),
    ("rearrange", "(a b -> a b", (6,), {"a": 2}),
    ("rearrange", "a b) -> a b", (2, 3), {}),
    ("rearrange", "a b", (2, 3), {}),
    ("rearrange", "a b -> b -> a", (2, 3), {}),
    ("rearrange", "a _b -> _b a", (2, 3), {}),
    ("rearrange", "a b_ -> b_ a", (2, 3), {}),
    ("rearrange", "a b_1 -> b_1 a", (2, 3), {}),
    ("rearrange", "a 2b -> 2b a", (2, 3), {}),
    ("rearrange", "a b! -> b! a", (2, 3), {}),
    ("rearrange", "a, b -> b a", (2, 3), {}),
    ("rearrange", "a ..... -> a .....", (2, 3), {}),
    ("rearrange", "a .. -> a ..", (2, 3), {}),
    ("rearrange", "... a ... -> a ...", (2, 3), {}),
    ("rearrange", "a b -> b a", (2, 3), {"c": 2}),
    ("rearrange", "a b -> b a", (2, 3), {"a": 2}),
    ("rearrange", "a b -> b a", (2, 3), {"a": 3}),
    ("rearrange", "a b -> b a", (2, 3, 4), {}),
    ("rearrange", "a b c ... -> b a c ...", (2, 3), {}),
    ("rearrange", " a   b->b a ", (2, 3), {}),
    ("rearrange", "->", (), {}),
    ("rearrange", "-> 1", (), {}),
    ("rearrange", "() -> ", (1,), {}),
    ("rearrange", "b c (h h2) (w w2) -> b (c h2 w2) h w", (2, 3, 4, 6), {"h2": 2, "w2": 3}),
    ("reduce", "b c h w -> b c", (2, 3, 4, 5), {}),
    ("reduce", "b c (h 2) (w 2) -> b c h w", (2, 3, 4, 6), {}),
    ("reduce", "b c (h 2) (w 2) -> b c h w", (2, 3, 5, 6), {}),
    ("reduce", "b c h w -> b c () ()", (2, 3, 4, 5), {}),
    ("reduce", "b ... -> b", (2, 3, 4, 5), {}),
    ("reduce", "b ... -> ...", (2, 3, 4, 5), {}),
    ("reduce", "... -> ", (2, 3), {}),
    ("reduce", "b c -> c b", (2, 3), {}),
    ("reduce", "(b g) c -> g c", (6, 4), {"g": 3}),
    ("reduce", "b 3 -> b", (2, 3), {}),
    ("reduce", "b 3 -> b", (2, 4), {}),
    ("reduce", "b c -> b 2", (2, 3), {}),
    ("reduce", "b c -> b d", (2, 3), {"d": 3}),
    ("reduce", "b c -> b c 1", (2, 3), {}),
    ("repeat", "h w -> h w c", (2, 3), {"c": 3}),
    ("repeat", "h w -> c (h 2) w", (2, 3), {"c": 3}),
    ("repeat", "h w -> (2 h) (2 w)", (2, 3), {}),
    ("repeat", "h w -> h w c", (2, 3), {}),
    ("repeat", "h w -> h", (2, 3), {}),
    ("repeat", "h 2 -> h", (2, 2), {}),
    ("repeat", "h 1 -> h k", (2, 1), {"k": 4}),
    ("repeat", "... -> k ...", (2, 3), {"k": 4}),
    ("repeat", "... -> ... k", (), {"k": 4}),
    ("repeat", "a ... -> a", (2, 3), {}),
    ("repeat", "a b -> b (a r)", (2, 3), {"r": 2}),
    ("repeat", "(a b) -> a r b", (6,), {"r": 2, "a": 3}),
    ("repeat", "a -> a k", (2,), {"k": 2, "j": 3}),
]


def _op(kind: str, pattern: str, sizes: dict[str, Any], reduction: str = "sum") -> PatternOp:
    given = tuple(sizes.items())
    if kind == "reduce":
        return Reduce(pattern=pattern, reduction=reduction, sizes=given)  # pyright: ignore[reportArgumentType]
    return {"rearrange": Rearrange, "repeat": Repeat}[kind](pattern=pattern, sizes=given)


def _wanted(
    kind: str, pattern: str, sizes: dict[str, int], x: torch.Tensor, reduction: str
) -> torch.Tensor | None:
    function: Any = getattr(einops, kind)
    try:
        return function(x, pattern, *([reduction] if kind == "reduce" else []), **sizes)
    except (einops.EinopsError, ValueError):  # it splits at `->` before it looks
        return None


@pytest.mark.parametrize(("kind", "pattern", "shape", "sizes"), CASES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "max", "min", "prod"])
def test_agrees_with_einops(
    kind: str, pattern: str, shape: tuple[int, ...], sizes: dict[str, int], reduction: str
) -> None:
    if kind != "reduce" and reduction != "sum":
        return
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = _wanted(kind, pattern, sizes, x, reduction)
    op = _op(kind, pattern, sizes, reduction)
    try:
        ((result,), _) = op.infer((TensorType(shape, "f64"),), ("x",))
    except ShapeError as error:
        assert wanted is None, error.message
        assert error.argument in ("pattern", "sizes") or error.kind == "size"
        if error.at is not None:
            assert 0 <= error.at[0] <= error.at[1] <= len(pattern)
        return
    assert wanted is not None, f"einops refuses, we give {result}"
    assert result.shape == tuple(wanted.shape)
    torch.testing.assert_close(run(op, ("x",), [x])[0], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "pattern", "sizes", "shape", "pointed"),
    [
        ("rearrange", "b c -> b d", {}, (2, 3), "c"),
        ("rearrange", "b c -> b c d", {}, (2, 3), "d"),
        ("rearrange", "b (h p) -> b h p", {}, (2, 6), "h"),
        ("rearrange", "b (h p) -> b h p", {"p": 4}, (2, 6), "h p"),
        ("rearrange", "b b -> b", {}, (2, 3), "b"),
        ("rearrange", "b (c -> b c", {}, (2, 3), "("),
        ("rearrange", "b c) -> b c", {}, (2, 3), ")"),
        ("rearrange", "b c_ -> b c_", {}, (2, 3), "c_"),
        ("rearrange", "b ? -> b ?", {}, (2, 3), "?"),
        ("rearrange", "b c -> b -> c", {}, (2, 3), "->"),
        ("rearrange", "b c ->  c b", {}, (2, 3, 4), "b c "),
        ("reduce", "b c -> b k", {}, (2, 3), "k"),
        ("repeat", "b c -> b c k", {}, (2, 3), "k"),
        ("repeat", "b c -> b 3", {}, (2, 3), "c"),
    ],
)
def test_errors_point_inside_the_pattern(
    kind: str, pattern: str, sizes: dict[str, int], shape: tuple[int, ...], pointed: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        _op(kind, pattern, sizes).infer((TensorType(shape),), ("x",))
    assert caught.value.at is not None
    assert pattern[slice(*caught.value.at)] == pointed


def test_symbolic_windows_are_divided_and_guarded() -> None:
    b, h, w = symbol("B"), symbol("H"), symbol("W")
    op = _op("rearrange", "b (h p) (w q) d -> (b h w) (p q) d", {"p": 7, "q": 7})
    ((result,), guards) = op.infer((TensorType((b, 7 * h, w, 96)),), ("x",))
    assert result.shape == (b * h * (w // 7), 49, 96)
    assert [(relation, left, right) for relation, left, right, _ in guards] == [("%", w, 7)]


def test_symbolic_sizes_may_be_given() -> None:
    b, h, w = symbol("B"), symbol("H"), symbol("W")
    op = _op("rearrange", "(b h w) n d -> b (h w n) d", {"b": b, "h": h, "w": w})
    ((result,), guards) = op.infer((TensorType((b * h * w, 49, 96)),), ("x",))
    assert result.shape == (b, 49 * h * w, 96) and not guards
