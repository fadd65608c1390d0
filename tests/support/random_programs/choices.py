"""Where a result turns on a choice between numbers that are nearly equal, and what it is if they fall otherwise.

Sorts, comparisons, `floor` and the like jump: a difference of rounding before them makes a whole other result. So a
graph is run once exactly, with all choices recorded; then with rounding, where the choices stay (`Rounding`), which
tells how far off numbers may be by right; and then with the operands of each choice moved by as much (`Shaken`). What
is not the same then is open, and nothing else is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

# Each is run with the noise added and subtracted, so that of two equal numbers either is the larger one once. Of three
# equal ones the middle one may stay: where there are such, more are tried.
PAIRS = 4
PAIRS_OF_TIES = 9
_ORDERED = frozenset(["sort", "argsort", "topk", "argmax", "argmin", "cummax", "cummin"])
# Their floats jump too.
_STEPS = frozenset(
    [
        "floor",
        "ceil",
        "round",
        "trunc",
        "fix",
        "sign",
        "sgn",
        "heaviside",
        "floor_divide",
        "remainder",
        "fmod",
        "frac",
        "hardshrink",
        "threshold",
        "angle",
        "atan2",
        "grid_sample",
    ]
)


# Sums of products in which each infinity has its own part: weights that are prepared, and sums taken first.
_MAPS = frozenset(
    ["linear", "einsum", "bilinear"]
    + [f"conv{kind}{rank}d" for kind in ("", "_transpose") for rank in (1, 2, 3)]
)
_ATTENTION = "scaled_dot_product_attention"


# Sums of many numbers may overflow on their way, in one order or way and not in another.
_SUMS = re.compile(
    r"sum|mean|var|std|norm|avg_pool|lp_pool|linear|conv|matmul|bmm|einsum|prod|interpolate|grid_sample|attention"
    r"|distance|similarity|fft|bilinear|dot|addmm"
)
_LARGE = 1e12


def open_where_infinite(node: fx.Node) -> bool:
    """Whether docs/algebra.md leaves open some of what it gives of numbers that are not finite."""
    name = name_of(node)
    return name in _MAPS or name in (_ATTENTION, "grid_sample") or "fft" in name


def name_of(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def orders(node: fx.Node) -> bool:
    return name_of(node) in _ORDERED or "with_indices" in name_of(node) or "return_indices" in node.kwargs


def parts(value: Any) -> Iterator[Tensor]:
    """The tensors of what a node gives."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from parts(part)


def _is_float(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


class Exact(fx.Interpreter):
    """A run that remembers the value of each node, and which nodes choose; beyond `most` all is infinite."""

    def __init__(self, module: fx.GraphModule, most: float | None = None) -> None:
        super().__init__(module)
        self.most = most
        self.values: dict[fx.Node, Any] = {}
        self.choices: set[fx.Node] = set()
        self.overflowing: set[fx.Node] = set()
        self.pairs = PAIRS

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if self.most is not None and isinstance(value, Tensor) and value.dtype == torch.float64:
            value = torch.where(value.abs() > self.most, value.sign() * float("inf"), value)
        self.values[n] = value
        read = [x for m in n.all_input_nodes for x in parts(self.values[m])]
        chosen = [x for x in parts(value) if not _is_float(x)]
        jumps = any(map(_is_float, read)) and (chosen or name_of(n) in _STEPS)
        infinite = open_where_infinite(n) and not all(x.isfinite().all() for x in read)
        if n.op.startswith("call") and (orders(n) or jumps or infinite):
            self.choices.add(n)
        # NaN is not equal to itself, and has no order either.
        if orders(n) and (read[0].isnan().sum() > 1 or len(read[0].unique()) < read[0].numel()):
            self.pairs = PAIRS_OF_TIES
        if self.most is not None and _SUMS.search(name_of(n)) and any(map(_large, read)):
            self.overflowing.add(n)
        return value


class Rounding(fx.Interpreter):
    """Each result rounded to a type, up or down by chance (arXiv:2207.10321); what was chosen stays."""

    def __init__(self, exact: Exact, dtype: torch.dtype, seed: int, errors: dict[fx.Node, float]) -> None:
        super().__init__(exact.module)
        self.exact = exact
        self.kind = dtype
        self.generator = torch.Generator().manual_seed(seed)
        self.errors = errors

    def run_node(self, n: fx.Node) -> Any:
        value, right = super().run_node(n), self.exact.values[n]
        if n in self.exact.choices and not open_where_infinite(n):
            value = right if name_of(n) in _STEPS else _merged(value, right, floats=False)
        value = self._round(value)
        if any(user in self.exact.choices for user in n.users):
            off = [float((x - y).abs().nan_to_num(0, 0, 0).max()) for x, y in _floats(value, right)]
            self.errors[n] = max([self.errors.get(n, 0.0), *off])
        return value

    def _round(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(self._round(each) for each in value)
        if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
            return value
        if value.dtype == torch.complex128:
            pairs = torch.view_as_real(value.resolve_conj())
            return torch.view_as_complex(self._round(pairs).contiguous())
        if value.dtype != torch.float64 or not value.numel():
            return value
        exact = value.to(self.kind).double()
        # What is a number of the type already was copied, chosen or counted.
        if torch.equal(exact.nan_to_num(), value.nan_to_num()):
            return value
        step = torch.finfo(self.kind).eps
        chance = torch.rand(value.shape, generator=self.generator, dtype=torch.float64) * 2 - 1
        moved = (value * (1 + step * chance)).to(self.kind).double()
        return torch.where(exact == value, value, moved)


class Shaken(fx.Interpreter):
    """Choices between operands that are moved by up to `reach` of each; equal ones in the other order if `turned`."""

    def __init__(self, exact: Exact, reach: dict[fx.Node, float], seed: int, turned: bool) -> None:
        super().__init__(exact.module)
        self.choices, self.overflowing = exact.choices, exact.overflowing
        self.reach = reach
        self.seed = seed
        self.turned = turned
        self.numbers = {node: number for number, node in enumerate(exact.module.graph.nodes)}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.overflowing:
            return fx.node.map_aggregate(value, self._overflown)
        if n not in self.choices:
            return value
        if open_where_infinite(n):
            return self._infinite(n, value)
        first = n.all_input_nodes[0]
        stable = bool(n.kwargs.get("stable")) and not self.reach.get(first)

        def moved(m: fx.Node) -> Any:
            x = self.env[m]
            if orders(n) and m is first and isinstance(x, Tensor) and not x.is_complex():
                return self._ranks(self._moved(m, x), smallest="min" in name_of(n), stable=stable)
            return self._moved(m, x)

        args, kwargs = (fx.node.map_arg(each, moved) for each in (n.args, n.kwargs))
        return _merged(value, getattr(self, n.op)(n.target, args, kwargs), floats=name_of(n) in _STEPS)

    def _overflown(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or not _is_float(x):
            return x
        return torch.full_like(x, float("nan") if self.turned else float("inf"))

    def _infinite(self, n: fx.Node, value: Tensor) -> Tensor:
        """The result of a map with another infinity where it comes of one, and not of NaN."""
        infinity, nan = float("inf"), float("nan")
        other = -infinity if self.turned else infinity
        if "fft" in name_of(n) or name_of(n) == "grid_sample":
            return (
                torch.full_like(value, complex(nan, nan) if value.is_complex() else nan)
                if self.turned
                else value
            )

        def changed(change: Callable[[fx.Node, Tensor], Tensor]) -> Tensor:
            def operand(m: fx.Node) -> Any:
                x = self.env[m]
                return change(m, x) if isinstance(x, Tensor) and x.is_floating_point() else x

            args, kwargs = (fx.node.map_arg(each, operand) for each in (n.args, n.kwargs))
            return getattr(self, n.op)(n.target, args, kwargs)

        def run(**numbers: float) -> Tensor:
            return changed(lambda _, x: x.nan_to_num(**numbers))

        if name_of(n) == _ATTENTION:
            # Keys that are masked, and rows in which no score is finite.
            masked = len(n.all_input_nodes) > 3 or n.kwargs.get("is_causal")
            if masked and not self.turned:
                return run(nan=0.0, posinf=0.0, neginf=0.0)
            if self.turned:  # torch gives 0 of scores that are all -infinity, and of some that are NaN
                return torch.where(value == 0, nan, value)
            return torch.where(value.isnan() & ~run(nan=nan, posinf=1.0, neginf=-1.0).isnan(), 0.0, value)
        by_infinity = ~run(nan=0.0, posinf=infinity, neginf=-infinity).isfinite()
        by_nan = run(nan=nan, posinf=0.0, neginf=0.0).isnan()
        found = torch.where(by_infinity & ~by_nan, other, value)
        if self.turned or not name_of(n).startswith("conv"):
            return found
        # Kernels do not multiply padding, nor so a weight that is not finite and meets nothing else.
        weight, biases = n.args[1], n.args[2:3]

        def meets(of_input: Callable[[Tensor], Tensor], of_weight: Callable[[Tensor], Tensor]) -> Tensor:
            def operand(m: fx.Node, x: Tensor) -> Tensor:
                if m in biases:
                    return torch.zeros_like(x)
                return (of_weight(x) if m is weight else of_input(x)).to(x.dtype)

            return changed(operand) > 0

        def sums_to(sign: float) -> Tensor:
            """Where a product is an infinity of a sign."""
            same, other = (lambda x: sign * x > 0), (lambda x: sign * x < 0)
            positive, negative = (lambda x: x == infinity), (lambda x: x == -infinity)
            pairs = ((same, positive), (other, negative), (positive, same), (negative, other))
            return torch.stack([meets(*pair) for pair in pairs]).any(0)

        unclear = meets(lambda x: x != 0, torch.isnan) | meets(torch.isnan, torch.ones_like)
        unclear |= meets(torch.isinf, lambda w: w == 0)
        unpadded = changed(lambda _, x: x.nan_to_num(0.0, 0.0, 0.0))
        unpadded += torch.where(sums_to(1.0), infinity, 0.0) - torch.where(sums_to(-1.0), infinity, 0.0)
        unpadded = torch.where(unclear, nan, unpadded)
        alike = (
            (unpadded == value)
            | (unpadded.isnan() & value.isnan())
            | (unpadded.isfinite() & value.isfinite())
        )
        return torch.where(alike, found, unpadded)

    def _moved(self, node: fx.Node, x: Any) -> Any:
        reach = self.reach.get(node, 0.0)
        if not isinstance(x, Tensor) or not _is_float(x) or not reach:
            return x
        generator = torch.Generator().manual_seed(self.seed + self.numbers[node])
        parts = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
        noise = torch.rand(parts.shape, generator=generator, dtype=torch.float64) * 2 - 1
        moved = parts + (-reach if self.turned else reach) * noise
        return torch.view_as_complex(moved) if x.is_complex() else moved

    def _ranks(self, x: Tensor, smallest: bool, stable: bool) -> Tensor:
        """The place of each element in the order of all, NaN at its end where torch has it: no two are equal."""
        flat = x.flatten().double()
        if smallest:
            flat = flat.nan_to_num(float("nan"), float("inf"), -float("inf"))
            flat = torch.where(flat.isnan(), -float("inf"), flat)
        # Of equal ones any may be first.
        generator = torch.Generator().manual_seed(self.seed)
        before = torch.arange(len(flat)) if stable else torch.randperm(len(flat), generator=generator)
        before = before.flip(0) if self.turned and not stable else before
        order = before[flat[before].argsort(stable=True)]
        ranks = torch.empty_like(flat)
        ranks[order] = torch.arange(flat.numel(), dtype=torch.float64)
        return ranks.reshape(x.shape)


def _large(x: Tensor) -> bool:
    return _is_float(x) and bool((x.abs() > _LARGE).any())


def _floats(value: Any, right: Any) -> Iterator[tuple[Tensor, Tensor]]:
    for x, y in zip(parts(value), parts(right), strict=True):
        if _is_float(x) and x.numel():
            yield x, y


def _merged(value: Any, other: Any, floats: bool) -> Any:
    """The value with the integers of another, and its floats too where those jump."""
    if isinstance(value, (list, tuple)):
        merged = [_merged(x, y, floats) for x, y in zip(value, other, strict=True)]
        return type(value)(merged) if type(value) in (list, tuple) else tuple(merged)
    return value if isinstance(value, Tensor) and _is_float(value) and not floats else other
