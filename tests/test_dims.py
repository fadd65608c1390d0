"""Sizes against Python's own integers: each formula is built twice, each verdict tried at random points."""

from __future__ import annotations

import copy
import inspect
import math
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planform.compiler.sizes import dims
from planform.compiler.sizes.algebra import bounds
from planform.compiler.sizes.dims import (
    LIMIT,
    Assumptions,
    Dim,
    Size,
    SizeTooLarge,
    UnboundSize,
    assuming,
    at_least,
    ceil_div,
    divisible,
    equal,
    evaluate,
    fold,
    free_symbols,
    maximum,
    minimum,
    power,
    prod,
    render,
    substitute,
    symbol,
    to_python,
    total,
)

H, W, B, N = (symbol(name) for name in "HWBN")
Z = symbol("Z", -20)  # takes negative values, so that numerators do too
P = symbol("P", 0)
SYMBOLS = {"H": H, "W": W, "Z": Z}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}


def conv(size: Size, kernel: int, padding: int, stride: int, dilation: int = 1) -> Size:
    """The output size of a convolution, as torch.nn.Conv2d documents it."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


# --- random formulas: a tree is an int, a symbol's name or (operation, left, right) ---

leaves = st.one_of(st.integers(-9, 9), st.sampled_from(["H", "W", "Z"]), st.sampled_from(["H", "Z"]))


def extend(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    divisors = st.one_of(
        st.integers(1, 8), st.integers(-5, -1), st.sampled_from(["H", "W", ("+", "H", "W"), ("*", 2, "W")])
    )
    return st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "min", "max"]), inner, inner),
        st.tuples(st.sampled_from(["//", "%"]), inner, divisors),
        st.tuples(st.sampled_from(["//", "%"]), inner, st.integers(2, 6)),
    )


formulas = st.recursive(leaves, extend, max_leaves=7)
points = st.fixed_dictionaries({"H": st.integers(1, 40), "W": st.integers(1, 40), "Z": st.integers(-20, 40)})


def build(formula: Any, values: dict[str, Any], least: Callable[..., Any], most: Callable[..., Any]) -> Any:
    """The formula over any kind of number."""
    if isinstance(formula, int):
        return formula
    if isinstance(formula, str):
        return values[formula]
    operation, left, right = formula
    a, b = build(left, values, least, most), build(right, values, least, most)
    return {**ARITHMETIC, "min": least, "max": most}[operation](a, b)


def as_size(formula: Any) -> Size:
    """The formula over symbols."""
    return build(formula, SYMBOLS, minimum, maximum)


def as_int(formula: Any, point: dict[str, int]) -> int:
    """The formula over Python's integers."""
    return build(formula, point, min, max)


@settings(max_examples=1000)
@given(formulas, points)
def test_arithmetic_is_that_of_python(formula: Any, point: dict[str, int]) -> None:
    size, expected = as_size(formula), as_int(formula, point)
    assert evaluate(size, point) == expected
    assert eval(render(size), {"min": min, "max": max, **point}) == expected
    names = {"H": "x.shape[2]", "W": "2*w - w", "Z": "a - b"}
    shape = type("X", (), {"shape": (0, 0, point["H"])})
    scope = {"min": min, "max": max, "x": shape, "w": point["W"], "a": point["Z"], "b": 0}
    assert eval(to_python(size, names), scope) == expected

    def on_op(kind: str, args: tuple[int, ...]) -> Any:
        if kind in ("add", "mul", "min", "max"):
            assert len(args) >= 2
            return {"add": sum, "mul": math.prod, "min": min, "max": max}[kind](args)
        return {"floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow}[kind](*args)

    assert fold(size, int, point.__getitem__, on_op) == expected


@settings(max_examples=150)
@given(formulas, points, st.sets(st.sampled_from(["H", "W", "Z"])))
def test_substitution_in_two_steps_is_evaluation(
    formula: Any, point: dict[str, int], first: set[str]
) -> None:
    size = as_size(formula)
    partly = substitute(size, {name: point[name] for name in first})
    assert free_symbols(partly) <= {"H", "W", "Z"} - first
    assert evaluate(partly, point) == as_int(formula, point)


@settings(max_examples=100)
@given(formulas, formulas, points)
def test_substituting_a_formula_is_composition(outer: Any, inner: Any, point: dict[str, int]) -> None:
    value = as_int(inner, point)
    assume(-20 <= value <= 10**6)
    composed = substitute(as_size(outer), {"Z": as_size(inner)})
    assert evaluate(composed, point) == as_int(outer, {**point, "Z": value})


@settings(max_examples=1500)
@given(formulas, formulas, st.lists(points, min_size=5, max_size=5), st.integers(2, 7))
def test_no_verdict_is_wrong(a: Any, b: Any, where: list[dict[str, int]], k: int) -> None:
    x, y = as_size(a), as_size(b)
    same, ordered, whole = equal(x, y), at_least(x, y), divisible(x, k)
    for point in where:
        left, right = as_int(a, point), as_int(b, point)
        assert same in (None, left == right)
        assert ordered in (None, left >= right)
        assert whole in (None, left % k == 0)


@settings(max_examples=800)
@given(formulas, formulas, st.integers(2, 8), st.integers(-3, 6), st.lists(points, min_size=8, max_size=8))
def test_no_verdict_is_wrong_under_assumptions(
    a: Any, b: Any, k: int, least: int, where: list[dict[str, int]]
) -> None:
    facts = Assumptions()
    facts.assume_divisible(H, k)
    facts.assume_at_least(Z, least)
    facts.assume_divisible(Z // 2 + W, 3)
    with assuming(facts):
        same, ordered = equal(as_size(a), as_size(b)), at_least(as_size(a), as_size(b))
    for point in where:
        point = {"H": point["H"] * k, "W": point["W"], "Z": max(point["Z"], least)}
        point["W"] += -(point["Z"] // 2 + point["W"]) % 3
        left, right = as_int(a, point), as_int(b, point)
        assert same in (None, left == right)
        assert ordered in (None, left >= right)


@settings(max_examples=200)
@given(formulas, points, st.integers(2, 5))
def test_bounds_hold_every_value(formula: Any, point: dict[str, int], n: int) -> None:
    for size in (as_size(formula), (H % 7) ** n, (W // 3) ** n - (H % 5) ** n):
        if isinstance(size, Dim):
            low, high = bounds(size.expr)
            assert low <= evaluate(size, point) <= high


@settings(max_examples=100)
@given(formulas)
def test_a_size_survives_pickle_and_copy(formula: Any) -> None:
    size = as_size(formula)
    assert pickle.loads(pickle.dumps(size)) == size
    assert copy.deepcopy(size) == size
    assert hash(copy.deepcopy(size)) == hash(size)


def test_a_size_survives_another_process() -> None:
    data = pickle.dumps({"size": (H * W + P) // 7, "same": symbol("H")})
    code = "import pickle, sys; d = pickle.load(sys.stdin.buffer); print(d['size'], d['same'] * 2)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode().strip() == "(H*W + P)//7 2*H"


# --- canonical form and text ---


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (conv(H, 3, 1, 2), "(H + 1)//2"),
        (conv(H, 7, 3, 2), "(H + 1)//2"),
        (ceil_div(H, 2), "(H + 1)//2"),
        (-(-H // 2), "(H + 1)//2"),
        (conv(conv(H, 7, 3, 2), 3, 1, 2), "(H + 3)//4"),
        (conv(H, 3, 1, 1), "H"),
        (conv(H, 3, 0, 1), "H - 2"),
        (conv(H, 2, 0, 2), "H//2"),
        (conv(H, 3, 2, 1, 2), "H"),
        (H // 2 // 3, "H//6"),
        (H // N // B, "H//(B*N)"),
        ((2 * H + 3) // 2, "H + 1"),
        ((4 * H + 3) // 6, "(2*H + 1)//3"),
        (N * H // H, "N"),
        ((N * H + H + 3) // H, "N + 3//H + 1"),
        ((B * H + B * W) // (H + W), "B"),
        (B * H * W // (4 * H), "(B*W)//4"),
        ((H + W + 5) // (2 * H + 2 * W), "(H + W + 5)//(2*(H + W))"),
        ((B * H + B * W) // (2 * H + 2 * W), "B//2"),
        (P * H // P, "(H*P)//P"),  # P may be 0
        (B * (H // 7) * (W // 7), "B*(H//7)*(W//7)"),
        (4 * N, "4*N"),
        (64 * B * conv(H, 3, 0, 1) * conv(W, 3, 0, 1), "64*B*(H - 2)*(W - 2)"),
        ((H + 1) ** 3, "(H + 1)**3"),
        (H**2, "H**2"),
        (H - W * 3 + 1, "H - 3*W + 1"),
        (3 - H // 2, "3 - H//2"),
        (-(H // 2), "-(H//2)"),
        (-H, "-H"),
        (-3 * H * W, "-3*H*W"),
        (-H % 32, "(-H)%32"),
        (2 * H % 6, "2*(H%3)"),
        ((H % 12 + 1) % 4, "(H + 1)%4"),
        (H % 7 % 14, "H%7"),
        (3 * (H // 2), "3*(H//2)"),
        (3 * H // 2, "H + H//2"),
        (minimum(H, 4, W), "min(4, H, W)"),
        (maximum(H, W) - 1, "max(H, W) - 1"),
        (maximum(H, 1), "H"),
        (minimum(H + 1, H), "H"),
    ],
)
def test_canonical_text(size: Size, text: str) -> None:
    assert render(size) == text
    assert repr(size) == text


@pytest.mark.parametrize(
    ("size", "value"),
    [
        (H - H, 0),
        (6 * H % 3, 0),
        (H % 7 // 7, 0),
        (2 * H % 2, 0),
        ((2 * H + 1) % 2, 1),
        (H // H, 1),
        (H**0, 1),
    ],
)
def test_constants_are_plain_integers(size: Size, value: int) -> None:
    assert type(size) is int
    assert size == value


def test_equal_structure_is_equality() -> None:
    assert conv(H, 3, 1, 2) == ceil_div(H, 2)
    assert {H + 1: "a"}[1 + H] == "a"
    assert symbol("H") is H
    assert symbol("H", 0) != H
    assert H != "H" and H != 1


def test_empty_products_and_sums() -> None:
    assert (prod([]), total([])) == (1, 0)
    assert (prod([2, H, 3]), total([2, H, 3, H])) == (6 * H, 2 * H + 5)


# --- verdicts ---


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (H + 1, H, False),
        (2 * H, 2 * W, None),
        (2 * H, 2 * W + 1, False),
        (H, 0, False),
        (P, 0, None),
        (H, W, None),
        (H // 2 * 2, H, None),
        (H // 2 * 2 + H % 2, H, True),
        (H - H // 2, ceil_div(H, 2), True),
        ((H + 1) // 2 + H // 2, H, True),
        (H + (-H) % 32, ceil_div(H, 32) * 32, True),
        ((H + W) * (H - W), H * H - W * W, True),
        (H // 2 + 1, H // 3, False),
    ],
)
def test_equality(a: Size, b: Size, verdict: bool | None) -> None:
    assert equal(a, b) is verdict
    assert equal(b, a) is verdict


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (H * W, 1, True),
        (H * W, H, True),
        (H, H // 2, True),
        (H, H // 500, True),
        (H, 2, None),
        (H - 1, H, False),
        (0, H, False),
        (P, 0, True),
        (H // 2, H, False),
        (H // 2, W, None),
        (H // 2, H + 1, False),
        (maximum(H, W), H, True),
        (H, minimum(H, W), True),
        (B * (H // 7) * 7, B * H, None),
        (B * H, B * (H // 7) * 7, True),
    ],
)
def test_order(a: Size, b: Size, verdict: bool | None) -> None:
    assert at_least(a, b) is verdict


def test_divisibility() -> None:
    assert divisible(6 * H, 3) is True
    assert divisible(6 * H + 1, 3) is False
    assert divisible(H, 2) is None
    assert divisible(N * H, N) is True
    assert divisible(12, 5) is False


def test_stride_chains_under_a_divisibility() -> None:
    facts = Assumptions()
    facts.assume_divisible(H, 32)
    size: Size = H
    with assuming(facts):
        assert equal((H - 1) // 2 + 1, H // 2) is True
        assert equal(((H + 1) // 2 + 1) // 2, H // 4) is True
        assert equal(2 * (H // 2), H) is True
        for stride in (2, 4, 8, 16, 32):
            size = conv(size, 3, 1, 2)
            assert equal(size * stride, H) is True
        assert divisible(H // 4, 8) is True
        assert divisible(H, 64) is None
        assert divisible(H + 1, 16) is False
        assert at_least(H, 32) is True
        assert equal(H, 33) is False
    assert equal(2 * (H // 2), H) is None
    assert render(H // 4) == "H//4"


def test_divisibility_by_a_symbol() -> None:
    facts = Assumptions()
    facts.assume_divisible(H, N)
    with assuming(facts):
        assert equal(H // N * N, H) is True
        assert equal(B * (H // N) * N * W, B * H * W) is True
        assert at_least(H, N) is True


def test_divisibility_of_formulas() -> None:
    facts = Assumptions()
    facts.assume_divisible(W // 4, 8)
    facts.assume_divisible(3 * H + 1, 4)
    facts.assume_divisible(B * N, 16)
    with assuming(facts):
        assert equal(W // 4, 8 * (W // 32)) is True
        assert divisible(W, 4) is None
        assert divisible(H, 4) is False
        assert divisible(H + 3, 4) is True
        assert divisible(3 * B * N, 8) is True
        assert divisible(B, 2) is None


def test_equalities_and_orders_are_used() -> None:
    outer, inner = Assumptions(), Assumptions()
    outer.assume_equal(H, W)
    inner.assume_at_least(H, 2 * N)
    with assuming(outer):
        assert equal(B * (H // 2), B * (W // 2)) is True
        assert at_least(W, 2 * N) is None
        with assuming(inner):
            assert at_least(W, 2 * N) is True
            assert at_least(W // 2, N) is True
            inner.assume_equal(H // 7, B)  # counts at once
            assert equal(W // 14, B // 2) is True
        assert at_least(W, 2 * N) is None
    assert equal(H, W) is None


def test_orders_chain() -> None:
    facts = Assumptions()
    facts.assume_at_least(H, W)
    facts.assume_at_least(W, N)
    facts.assume_at_least(N, 8)
    with assuming(facts):
        assert at_least(H, N) is True
        assert at_least(H, 8) is True
        assert equal(H, 7) is False
        assert at_least(N, W + 1) is False


def test_products_that_are_equal() -> None:
    facts = Assumptions()
    facts.assume_equal(H * W, 7 * B * P)
    with assuming(facts):
        assert equal(N * H * W, 7 * B * P * N) is True


# --- what is refused ---


@pytest.mark.parametrize(
    "use", [bool, int, float, operator.index, lambda h: h < 3, lambda h: h >= 3, range, sorted]
)
def test_a_symbol_has_no_value(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        use([H, W] if use is sorted else H)


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"\(H \+ 1\)//2 is symbolic .* equal\(\)"):
        bool(ceil_div(H, 2))
    with pytest.raises(TypeError):
        operator.add(H, 1.5)
    with pytest.raises(ZeroDivisionError):
        operator.floordiv(H, 0)
    with pytest.raises(ZeroDivisionError):
        operator.mod(H, W - W)
    with pytest.raises(ValueError, match="negative power"):
        operator.pow(H, -1)
    with pytest.raises(TypeError):
        Dim()


def test_unbound_symbols_are_named() -> None:
    with pytest.raises(UnboundSize, match="H, W") as caught:
        evaluate(H * W + B, {"B": 1})
    assert caught.value.names == ("H", "W")
    assert isinstance(caught.value, KeyError)


def test_sizes_stay_small() -> None:
    assert LIMIT == 2**63
    assert power(2, 63) == LIMIT
    for grow in (
        lambda: power(2, 64),
        lambda: power(10, 10**12),
        lambda: H ** (10**12),
        lambda: prod([2**40, 2**40]),
        lambda: total([LIMIT, 1]),
        lambda: H * 2**60 * 2**10,
        lambda: evaluate(H**40, {"H": 1000}),
        lambda: (H + W + B + N + P + 1) ** 60,
    ):
        with pytest.raises(SizeTooLarge):
            grow()


@pytest.mark.parametrize(
    "step",
    [lambda x: (x * H + 1) // W, lambda x: (x * x + 1) // W, lambda x: maximum(x * 2, W + x * x % 7) // 3],
    ids=["deep", "shared", "mixed"],
)
def test_a_formula_cannot_grow_without_end(step: Callable[[Size], Size]) -> None:
    size: Size = H
    with pytest.raises(SizeTooLarge):
        for _ in range(200):
            size = step(size)
            assert len(render(size)) < 100_000


def test_a_proof_gives_up_on_a_large_formula() -> None:
    a = total([symbol(f"s{i}") * symbol(f"s{i + 1}") // (i + 2) for i in range(200)])
    assert equal(a, a * 2 - 7) is None
    assert at_least(a, H) is None


def test_repeated_arithmetic_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    from planform.compiler.sizes import algebra

    known = conv(H, 11, 2, 4)
    monkeypatch.setattr(algebra, "BINARY", {})
    assert conv(H, 11, 2, 4) is known
    with pytest.raises(KeyError):
        conv(H, 13, 2, 4)


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dims, "CACHE_SIZE", 16)
    cache = inspect.getclosurevars(getattr(dims, "_add")).nonlocals["cache"]  # noqa: B009 (private)
    cache.clear()
    for k in range(1, 100):
        assert evaluate(H + k, {"H": 1}) == k + 1
        assert len(cache) <= 16


def test_sympy_is_loaded_to_factor_a_sum_alone() -> None:
    code = (
        "import sys; from planform.compiler.sizes.dims import *; "
        "assert (ceil_div(7, 2), minimum(1, 2), maximum(1, 2)) == (4, 1, 2); "
        "assert (prod([2, 3]), total([2, 3])) == (6, 5); "
        "assert equal(2, 2) and at_least(3, 2) and divisible(4, 2) and power(2, 3) == 8; "
        "assert evaluate(3, {}) == 3 and render(3) == '3' and not free_symbols(3); "
        "H, W = symbol('H'), symbol('W'); size = (H + 3)//4*W; "
        "assert at_least(size, 1) and divisible(4*size, 4) and render(size) == '((H + 3)//4)*W'; "
        "assert 'sympy' not in sys.modules; "
        "assert render((H + 1)*(W + 2)) == '(H + 1)*(W + 2)'; assert 'sympy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
