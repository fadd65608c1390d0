"""Discrete Fourier transforms, as in torch.fft.

Cost, by convention: a complex transform of length N counts 5*N*log2(N) real operations (those of the radix-2
algorithm, Cooley and Tukey 1965), of which 2*N*log2(N) multiply and 3*N*log2(N) add, with the logarithm
rounded up; one from or to real numbers counts half of each, rounded down. Scaling counts one multiply for
each real number of the result.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ..dtypes import DType, complex_of, is_complex, real_of
from ..sizes.dims import Size, minimum, prod, total
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.promotion import floating
from .core.rules import ShapeError, axes_of, axis_of, need_at_least
from .pointwise import as_float

Normalisation = Literal["backward", "ortho", "forward"]
_LONGEST = 31


def log2_ceil(size: Size) -> Size:
    """The logarithm to base 2, rounded up; a symbolic size is taken to be at most 2**31."""
    if isinstance(size, int):
        return max(size - 1, 0).bit_length()
    # The number of powers of two that are less than the size.
    return total(minimum(1, size // (2**k + 1)) for k in range(_LONGEST))


def transform_cost(length: Size, rows: Size, real: bool = False) -> Cost:
    """The cost of that many one-dimensional transforms."""
    work = length * log2_ceil(length)
    if real:
        return Cost(multiply=work, add=3 * work // 2).scaled(rows)
    return Cost(multiply=2 * work, add=3 * work).scaled(rows)


class Transform(Op):
    """A transform over axes; `spectrum` says which side is half of one: "full" (none), "out" or "in"."""

    spectrum: ClassVar[str] = "full"
    inverse: ClassVar[bool] = False

    def plan(self, x: Shape) -> tuple[tuple[int, ...], Shape]:
        """The axes in order, and the transform's length along each; `ShapeError` where there is none."""
        raise TypeError("a transform says over which axes it goes")

    def _lengths(self, x: Shape, axes: tuple[int, ...], wanted: tuple[Size | None, ...]) -> Shape:
        """The wanted lengths; for None the input's, or that of the whole spectrum on the last axis."""
        found: list[Size] = []
        for axis, length in zip(axes, wanted, strict=True):
            if length is None or (isinstance(length, int) and length == -1):
                half = self.spectrum == "in" and axis == axes[-1]
                length = 2 * (x[axis] - 1) if half else x[axis]
            need_at_least(length, 1, f"the length of {self.name} over axis {axis}", ("x", axis))
            found.append(length)
        return tuple(found)

    def shape(self, x: Shape) -> Shape:
        axes, lengths = self.plan(x)
        if not axes and self.spectrum != "full":
            raise ShapeError(f"{self.name} transforms at least one axis", "value", argument="axis")
        for axis, size in enumerate(x):
            if axis not in axes:  # torch's library takes no batch of nothing
                need_at_least(size, 1, f"axis {axis} of {self.name}'s input", ("x", axis))
        sizes = list(x)
        for axis, length in zip(axes, lengths, strict=True):
            sizes[axis] = length
        if self.spectrum == "out":
            sizes[axes[-1]] = lengths[-1] // 2 + 1
        return tuple(sizes)

    def dtype(self, x: DType) -> DType:
        if x in ("f16", "bf16"):
            raise ShapeError(
                f"{self.name} takes f32 or f64, and got {x}", "dtype", (("x", None),), help="cast it"
            )
        if self.spectrum == "out" and is_complex(x):
            raise ShapeError(
                f"{self.name} takes real tensors, and got {x}", "dtype", (("x", None),), help="use fft"
            )
        made = complex_of(floating(x))
        return real_of(made) if self.spectrum == "in" else made

    def cost(self, out: Shape, x: Shape) -> Cost:
        axes, lengths = self.plan(x)
        # The complex transforms go over what both sides have in full, and half a spectrum on the last axis.
        sizes = list(out)
        if self.spectrum == "in":
            sizes[axes[-1]] = lengths[-1] // 2 + 1
        cost = NOTHING
        for axis, length in zip(axes, lengths, strict=True):
            rows = prod(size for other, size in enumerate(sizes) if other != axis)
            real = self.spectrum != "full" and axis == axes[-1]
            cost = cost + transform_cost(length, rows, real)
        norm = getattr(self, "norm", "backward")
        if norm == "ortho" or (norm == "backward") == self.inverse:
            cost = cost + Cost(multiply=prod(out) * (1 if self.spectrum == "in" else 2))
        return cost

    def numpy(self, np: Any, x: Any) -> Any:
        axes, lengths = self.plan(x.shape)
        norm = getattr(self, "norm", "backward")
        if not axes:
            return x
        function = {"full": "fftn", "out": "rfftn", "in": "irfftn"}[self.spectrum]
        if self.inverse and self.spectrum == "full":
            function = "ifftn"
        return getattr(np.fft, function)(x, s=lengths, axes=axes, norm=norm)


class Along(Transform):
    """A transform along one axis; its input is cut or padded with zeros at the end to length `n`."""

    n: Size | None = None
    axis: int = -1
    norm: Normalisation = "backward"
    samples = (
        case({}, (2, 8)),
        case({"n": 6, "axis": 1, "norm": "ortho"}, (2, 8, 3)),
        case({"norm": "forward"}, ("i64", (5,))),
    )

    def plan(self, x: Shape) -> tuple[tuple[int, ...], Shape]:
        axis = axis_of(self.axis, len(x))
        if isinstance(self.n, int):
            need_at_least(self.n, 1, "`n`")
        return (axis,), self._lengths(x, (axis,), (self.n,))

    def torch(self, t: Lowering, x: Any) -> Any:
        length = None if self.n is None else t.size(self.n)
        return getattr(t.torch.fft, self.name)(as_float(t, x), n=length, dim=self.axis, norm=self.norm)


class Fft(Along, name="fft"):
    """Discrete Fourier transform along an axis: [*s, n] -> complex[*s, n]."""

    samples = (*Along.samples, case({}, ("complex", (2, 8))))


class Ifft(Along, name="ifft"):
    """Inverse of fft: [*s, n] -> complex[*s, n]."""

    inverse = True
    samples = (*Along.samples, case({}, ("complex", (2, 8))))


class Rfft(Along, name="rfft"):
    """Transform of a real tensor, without the redundant half: [*s, n] -> complex[*s, n//2 + 1]."""

    spectrum = "out"


class Irfft(Along, name="irfft"):
    """Inverse of rfft: complex[*s, m] -> [*s, n]; n is 2*(m - 1) unless given."""

    spectrum = "in"
    inverse = True
    samples = (*Along.samples, case({}, ("complex", (2, 5))), case({"n": 7}, ("complex", (2, 4))))


class Over(Transform):
    """A transform over several axes (None: as many as `s` has, or all); `s` gives lengths, -1 leaves one."""

    s: tuple[Size, ...] | None = None
    axis: tuple[int, ...] | None = None
    norm: Normalisation = "backward"
    samples = (
        case({}, (2, 4, 6)),
        case({"axis": (1, 2), "norm": "ortho"}, (2, 4, 6, 3)),
        case({"s": (3, 8), "axis": (-2, -1)}, (2, 4, 6)),
    )

    def plan(self, x: Shape) -> tuple[tuple[int, ...], Shape]:
        rank = len(x)
        if self.axis is not None:
            axes = axes_of(self.axis, rank)
        elif self.s is None:
            axes = tuple(range(rank))
        elif len(self.s) > rank:
            raise ShapeError(f"`s` has {len(self.s)} entries for {rank} axes", "value", argument="s")
        else:
            axes = tuple(range(rank - len(self.s), rank))
        wanted: tuple[Size | None, ...] = (None,) * len(axes) if self.s is None else self.s
        if len(wanted) != len(axes):
            message = f"`s` has {len(wanted)} entries, and there are {len(axes)} axes"
            raise ShapeError(message, "value", argument="s")
        return axes, self._lengths(x, axes, wanted)

    def torch(self, t: Lowering, x: Any) -> Any:
        lengths = None if self.s is None else tuple(t.size(length) for length in self.s)
        return getattr(t.torch.fft, self.name)(as_float(t, x), s=lengths, dim=self.axis, norm=self.norm)


class Over2(Over):
    """A transform over two axes, the last ones unless given."""

    axis: tuple[int, ...] | None = (-2, -1)


class Fft2(Over2, name="fft2"):
    """Transform over two axes: [*s, h, w] -> complex[*s, h, w]."""


class Ifft2(Over2, name="ifft2"):
    """Inverse of fft2: [*s, h, w] -> complex[*s, h, w]."""

    inverse = True


class Rfft2(Over2, name="rfft2"):
    """Transform of a real tensor over two axes: [*s, h, w] -> complex[*s, h, w//2 + 1]."""

    spectrum = "out"


class Irfft2(Over2, name="irfft2"):
    """Inverse of rfft2: complex[*s, h, m] -> [*s, h, w]; w is 2*(m - 1) unless given in `s`."""

    spectrum = "in"
    inverse = True


class Fftn(Over, name="fftn"):
    """Transform over several axes: [*n] -> complex[*n]."""

    samples = (*Over.samples, case({}, ("complex", (3, 4))))


class Ifftn(Over, name="ifftn"):
    """Inverse of fftn: [*n] -> complex[*n]."""

    inverse = True
    samples = (*Over.samples, case({}, ("complex", (3, 4))))


class Rfftn(Over, name="rfftn"):
    """Transform of a real tensor over several axes: [*n, w] -> complex[*n, w//2 + 1]."""

    spectrum = "out"


class Irfftn(Over, name="irfftn"):
    """Inverse of rfftn: complex[*n, m] -> [*n, w]; w is 2*(m - 1) unless given in `s`."""

    spectrum = "in"
    inverse = True
    samples = (*Over.samples, case({}, ("complex", (3, 4))))


class Fftshift(Op, name="fftshift"):
    """Move the zero frequency to the middle of axes (all unless given): [*s] -> [*s]."""

    axis: int | tuple[int, ...] | None = None
    back: ClassVar[bool] = False
    samples = (
        case({}, (4, 5)),
        case({"axis": -1}, ("complex", (2, 5))),
        case({"axis": (0, 1)}, (4, 5, 2)),
        case({"axis": (1, -2)}, (4, 5, 2)),
    )

    def _axes(self, rank: int) -> list[int]:
        """The axes from the front; one that is named twice is shifted twice."""
        listed = (
            range(rank) if self.axis is None else (self.axis,) if isinstance(self.axis, int) else self.axis
        )
        return [axis_of(axis, rank) for axis in listed]

    def shape(self, x: Shape) -> Shape:
        self._axes(len(x))
        if not x or self.axis == ():
            raise ShapeError(f"{self.name} shifts at least one axis", "value", argument="axis")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return getattr(t.torch.fft, self.name)(x, dim=self.axis)

    def te(self, t: Elements, x: Any) -> Any:
        def moved(i: Any, size: Any) -> Any:
            # The zero frequency comes from, or goes to, the place size // 2.
            shift = size // 2 if self.back else (size + 1) // 2
            return t.select(i < size - shift, i + shift, i + shift - size)

        def element(*index: Any) -> Any:
            at = list(index)
            for axis in self._axes(x.rank):
                at[axis] = moved(at[axis], x.shape[axis])
            return x[tuple(at)]

        return t.compute(x.shape, element)

    def numpy(self, np: Any, x: Any) -> Any:
        return getattr(np.fft, self.name)(x, axes=self.axis)


class Ifftshift(Fftshift, name="ifftshift"):
    """Undo fftshift: [*s] -> [*s]."""

    back = True
