"""Pooling to a wanted size: adaptive windows, and one window for all.

Reducing n elements counts n operations.
"""

from __future__ import annotations

from math import gcd
from typing import Any, ClassVar

from ..dtypes import DType
from ..sizes.dims import Size, divisible, minimum, prod, total
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rows import product, wide
from .core.rules import ShapeError, need_at_least, need_float, need_inexact, need_rank
from .pool import pooled_axes
from .reduce import Amax, Mean

Wanted = Size | tuple[Size | None, ...]


def window_total(size: Size, windows: Size) -> Size:
    """Elements that adaptive windows of one axis read together.

    Window o spans floor(o*S/O) to ceil((o+1)*S/O), so that neighbours share an element wherever O does not
    divide o*S: S + O - gcd(S, O) in all. Of a symbolic S that is S + sum of phi(d) over the divisors d of O
    that do not divide S (Gauss: O is the sum of phi over all its divisors, and gcd(S, O) over those that
    divide S too). With a symbolic O that neither divides nor is divided, S + O - 1, the most there can be.
    """
    if isinstance(windows, int):
        if isinstance(size, int):
            return size + windows - gcd(size, windows)
        return size + total(totient * minimum(size % d, 1) for d, totient in _divisors(windows))
    if divisible(size, windows):
        return size
    return windows if divisible(windows, size) else size + windows - 1


def _divisors(number: int) -> list[tuple[int, int]]:
    """The divisors of a number with Euler's phi of each, in order."""
    parts = [(1, 1)]
    rest, prime = number, 2
    while rest > 1:
        if prime * prime > rest:
            prime = rest
        power = 1
        before = parts
        while rest % prime == 0:
            rest, power = rest // prime, power * prime
            parts = parts + [(d * power, phi * (power - power // prime)) for d, phi in before]
        prime += 1
    return sorted(parts)


def one_window(wanted: Wanted | None) -> bool:
    """Whether one window spans all axes: its mean is a plain one, which complex numbers have too."""
    sizes = wanted if isinstance(wanted, tuple) else (wanted,)
    return all(isinstance(size, int) and size == 1 for size in sizes)


class AdaptivePool(Op):
    """What adaptive pooling shares: the wanted sizes and how windows follow from them."""

    size: Wanted
    # How the elements of a window are combined, and what changes nothing there.
    combine: ClassVar[str] = "sum"
    outside: ClassVar[float] = 0.0
    role = "reduction"

    def shape(self, x: Shape) -> Shape:
        rank = pooled_axes(x, self.name)
        wanted = self.wanted(x, rank)
        for size in wanted:
            need_at_least(size, 0, "`size`")
        return (*x[:2], *wanted)

    def wanted(self, x: Shape, rank: int) -> Shape:
        """The sizes of the result's spatial axes; none keeps the input's."""
        if not isinstance(self.size, tuple):
            return (self.size,) * rank
        if len(self.size) != rank:
            message = f"`size` has {len(self.size)} entries for {rank} spatial axes"
            raise ShapeError(message, "value", argument="size")
        return tuple(own if size is None else size for size, own in zip(self.size, x[2:], strict=True))

    def dtype(self, x: DType) -> DType:
        need_float(x, self.name)
        return x

    def read(self, out: Shape, x: Shape) -> Size:
        """Elements of all windows together."""
        return prod(x[:2]) * prod(window_total(s, o) for s, o in zip(x[2:], out[2:], strict=True))

    def settings(self, t: Lowering, rank: int) -> Any:
        """The wanted sizes as torch takes them."""
        if isinstance(self.size, tuple):
            sizes = [None if size is None else t.size(size) for size in self.size]
            return sizes[0] if rank == 1 and len(sizes) == 1 else sizes
        return t.size(self.size)

    def windows(self, t: Elements, x: Any, dtype: str) -> tuple[Any, list[_Window]]:
        """Each window combined, and how windows lie along each axis."""
        (operand,) = t.node.inputs
        sizes = zip(operand.shape[2:], t.node.results[0].shape[2:], strict=True)
        windows = [_Window(t, size, count) for size, count in sizes]
        rank = len(windows)

        def element(b: Any, c: Any, *rest: Any) -> Any:
            outs, steps = rest[:rank], rest[rank:]
            at = [window.start(o) + k for window, o, k in zip(windows, outs, steps, strict=True)]
            return t.cast(x[(b, c, *at)], dtype)

        def guarded(b: Any, c: Any, *rest: Any) -> Any:
            outs, steps = rest[:rank], rest[rank:]
            inside: Any = None
            for window, o, k in zip(windows, outs, steps, strict=True):
                if not window.even:
                    own = k < window.length(o)
                    inside = own if inside is None else t.logical_and(inside, own)
            return t.guard(inside, lambda: element(b, c, *rest), t.const(self.outside, dtype))

        even = all(window.even for window in windows)
        extents = [window.most for window in windows]
        found = t.reduce(self.combine, t.shape(), extents, element if even else guarded, dtype)
        return found, windows


class _Window:
    """Adaptive windows along an axis: `even` where all have the length `most`, which else is the longest."""

    def __init__(self, t: Elements, size: Size, count: Size) -> None:
        self.t, self.size, self.count = t, t.size(size), t.size(count)
        self.even = divisible(size, count) is True
        if self.even:
            self.most = self.size // self.count
        elif isinstance(size, int) and isinstance(count, int):
            self.most = max(-(-(o + 1) * size // count) - o * size // count for o in range(count))
        else:
            self.most = self.size // self.count + 2

    def start(self, o: Any) -> Any:
        """The first element of window `o`."""
        if self.even:
            return o * self.most
        return self.t.quotient(self._scaled(o), self.count)

    def _scaled(self, o: Any) -> Any:
        """O times the size, which may not fit 32 bits though an index does."""
        return self.t.position(o, (self.count + 1) * self.size) * self.size

    def length(self, o: Any) -> Any:
        """How many elements window `o` has."""
        if self.even:
            return self.most
        return self.t.quotient(self._scaled(o) + (self.size + self.count - 1), self.count) - self.start(o)


class AdaptiveAvgPool(AdaptivePool, name="adaptive_avg_pool"):
    """Mean over windows that share an axis evenly: [B, C, *S] -> [B, C, *size]; torch's adaptive_avg_pool1d,
    2d, 3d.
    """

    samples = (
        case({"size": 1}, (2, 3, 7, 7)),
        case({"size": (3, 5)}, (2, 3, 7, 6)),
        case({"size": 4}, (2, 3, 6)),
        case({"size": (None, 2, 3)}, (1, 2, 4, 5, 6)),
        case({"size": 1}, ("complex", (2, 3, 4))),
    )

    def dtype(self, x: DType) -> DType:
        sizes = self.size if isinstance(self.size, tuple) else (self.size,)
        if any(isinstance(size, int) and size == 0 for size in sizes):
            return x  # nothing to average
        (need_inexact if one_window(self.size) else need_float)(x, self.name)
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=self.read(out, x), divide=prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        functions = (t.F.adaptive_avg_pool1d, t.F.adaptive_avg_pool2d, t.F.adaptive_avg_pool3d)
        return functions[rank - 1](x, self.settings(t, rank))

    def te(self, t: Elements, x: Any) -> Any:
        if 0 in t.node.results[0].shape:
            return t.compute(t.shape(), lambda *i: t.const(0))
        dtype = wide(x.dtype)
        total, windows = self.windows(t, x, dtype)

        def element(*index: Any) -> Any:
            counts = [window.length(o) for window, o in zip(windows, index[2:], strict=True)]
            return total[index] / t.cast(product(counts), dtype)

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any) -> Any:
        # Of complex numbers there is one window, the whole, or none.
        if one_window(self.size):
            return np.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)
        return np.zeros(self.shape(x.shape), x.dtype)


class AdaptiveMaxPool(AdaptivePool, name="adaptive_max_pool"):
    """Maximum over windows that share an axis evenly: [B, C, *S] -> [B, C, *size]; torch's
    adaptive_max_pool1d, 2d, 3d.
    """

    samples = (
        case({"size": 1}, (2, 3, 7, 7)),
        case({"size": (3, 5)}, (2, 3, 7, 6)),
        case({"size": 4}, (2, 3, 6)),
        case({"size": 2}, (1, 2, 4, 5, 6)),
    )
    combine = "max"
    outside = float("-inf")

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=self.read(out, x))

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        functions = (t.F.adaptive_max_pool1d, t.F.adaptive_max_pool2d, t.F.adaptive_max_pool3d)
        return functions[rank - 1](x, self.settings(t, rank))

    def te(self, t: Elements, x: Any) -> Any:
        if 0 in t.node.results[0].shape:
            return t.compute(t.shape(), lambda *i: t.const(0))
        found, _ = self.windows(t, x, x.dtype)
        return found


class GlobalPool(Op):
    """What global pooling shares: all spatial axes go, or stay with size 1."""

    keepdim: bool = False
    role = "reduction"

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, None, self.name)
        return (*x[:2], *(1,) * (len(x) - 2)) if self.keepdim else x[:2]

    def axes(self, t: Lowering, x: Any) -> tuple[int, ...]:
        """The spatial axes, of which there is at least one."""
        return (2, *range(3, t.rank(x)))


class GlobalAvgPool(GlobalPool, name="global_avg_pool"):
    """Mean over all spatial axes: [B, C, *S] -> [B, C], or [B, C, 1, ...] with `keepdim`."""

    accumulates = True
    samples = (case({}, (2, 3, 4, 5)), case({"keepdim": True}, (2, 3, 4)))

    def dtype(self, x: DType) -> DType:
        need_inexact(x, "global_avg_pool")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=prod(x), divide=prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.mean(self.axes(t, x), keepdim=self.keepdim)

    def te(self, t: Elements, x: Any) -> Any:
        return Mean(axis=tuple(range(2, x.rank)), keepdim=self.keepdim).te(t, x)

    def numpy(self, np: Any, x: Any) -> Any:
        return np.mean(x, axis=tuple(range(2, x.ndim)), keepdims=self.keepdim)


class GlobalMaxPool(GlobalPool, name="global_max_pool"):
    """Maximum over all spatial axes: [B, C, *S] -> [B, C], or [B, C, 1, ...] with `keepdim`."""

    accumulates = True
    samples = (case({}, (2, 3, 4, 5)), case({"keepdim": True}, (2, 3, 4)))

    def shape(self, x: Shape) -> Shape:
        found = super().shape(x)
        for axis in range(2, len(x)):
            need_at_least(x[axis], 1, f"axis {axis} of global_max_pool's input", ("x", axis))
        return found

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.amax(self.axes(t, x), keepdim=self.keepdim)

    def te(self, t: Elements, x: Any) -> Any:
        return Amax(axis=tuple(range(2, x.rank)), keepdim=self.keepdim).te(t, x)
