"""Complex tensors: made of real ones, and taken apart. Arithmetic on them is that of all tensors."""

from __future__ import annotations

from math import pi
from typing import Any

from ..dtypes import DType, complex_of, is_complex, real_of
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.promotion import floating
from .core.rules import ShapeError, broadcast, need_equal, need_rank, need_same_dtype
from .pointwise import Unary, as_float

_SAMPLES = (case({}, ("complex", (2, 3))), case({}, (2, 3)), case({}, ("complex", ())))


def need_wide(dtype: DType, what: str, operand: str = "x") -> None:
    """The type is one that complex numbers are made of: f32, f64 or `float`; or `ShapeError`."""
    if dtype not in ("float", "f32", "f64"):
        raise ShapeError(f"{what} takes f32 or f64, and got {dtype}", "dtype", ((operand, None),))


class Pair(Op):
    """A complex tensor of two real ones: [*s], [*s] -> complex[*s] under broadcasting."""

    role = "elementwise"
    samples = (case({}, (2, 3), (2, 3)), case({}, ("f64", (2, 1)), ("f64", (3,))))

    def shape(self, x: Shape, y: Shape) -> Shape:
        return broadcast(x, y, what=self.name, slots=("x", "y"))

    def dtype(self, x: DType, y: DType) -> DType:
        need_wide(x, self.name)
        need_same_dtype({"x": x, "y": y}, self.name)
        return complex_of(x)

    def cost(self, out: Shape, x: Shape, y: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any, y: Any) -> Any:
        return getattr(t.torch, self.name)(x, y)


class Complex(Pair, name="complex"):
    """x + i*y of real and imaginary part: [*s], [*s] -> complex[*s] under broadcasting."""

    def numpy(self, np: Any, x: Any, y: Any) -> Any:
        return _joined(np, *np.broadcast_arrays(x, y))


class Polar(Pair, name="polar"):
    """x*e^(i*y) of modulus (not negative) and angle: [*s], [*s] -> complex[*s] under broadcasting."""

    domain = (0.1, 3.0)

    def cost(self, out: Shape, x: Shape, y: Shape) -> Cost:
        return Cost(multiply=2, transcendental=2).scaled(prod(out))

    def numpy(self, np: Any, x: Any, y: Any) -> Any:
        return _joined(np, x * np.cos(y), x * np.sin(y))


def _joined(np: Any, real: Any, imag: Any) -> Any:
    """Not by arithmetic, where an infinity would make NaN of the other part."""
    found = np.empty(real.shape, np.result_type(real.dtype, np.complex64))
    found.real, found.imag = real, imag
    return found


class Real(Unary, name="real"):
    """The real part: complex[*s] -> [*s]; of a real tensor itself."""

    role = "view"
    gives = "real"
    samples = _SAMPLES

    def scalar(self, t: Elements, x: Any) -> Any:
        return x


class Imag(Unary, name="imag"):
    """The imaginary part: complex[*s] -> [*s]."""

    role = "view"
    accepts = "c"
    gives = "real"
    samples = (_SAMPLES[0], _SAMPLES[2])


class Angle(Unary, name="angle"):
    """The angle in (-pi, pi]: complex[*s] -> [*s]; of real numbers 0 or pi."""

    counts = Cost(compare=1)
    counts_complex = Cost(transcendental=1)
    domain = (0.1, 4.0)
    samples = (*_SAMPLES, case({}, ("i64", (3,))))

    def dtype(self, x: DType) -> DType:
        return real_of(floating(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.torch.angle(as_float(t, x))

    def scalar(self, t: Elements, x: Any) -> Any:
        angle = t.select(x < t.full_like(x, 0), t.full_like(x, pi), t.full_like(x, 0))
        return t.select(t.isnan(x), x, angle)


class Conj(Unary, name="conj"):
    """The complex conjugate: complex[*s] -> complex[*s]; one add, the sign. Of a real tensor itself."""

    counts_complex = Cost(add=1)
    # Computed at once: torch's lazy conjugate does not go with view_as_real.
    function = "conj_physical"
    samples = _SAMPLES

    def scalar(self, t: Elements, x: Any) -> Any:
        return x


class ViewAsReal(Op, name="view_as_real"):
    """Real and imaginary part on a new last axis: complex[*s] -> [*s, 2]."""

    role = "view"
    samples = (case({}, ("complex", (2, 3))), case({}, ("complex", ())))

    def shape(self, x: Shape) -> Shape:
        return (*x, 2)

    def dtype(self, x: DType) -> DType:
        if not is_complex(x):
            raise ShapeError(f"view_as_real takes complex tensors, and got {x}", "dtype", (("x", None),))
        return real_of(x)

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.torch.view_as_real(x)

    def numpy(self, np: Any, x: Any) -> Any:
        return np.stack([x.real, x.imag], -1)


class ViewAsComplex(Op, name="view_as_complex"):
    """Complex numbers of pairs on the last axis: [*s, 2] -> complex[*s]."""

    role = "view"
    samples = (case({}, (2, 3, 2)), case({}, ("f64", (2,))))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "view_as_complex")
        need_equal(x[-1], 2, "the last size and that of a complex number", ("x", -1))
        return x[:-1]

    def dtype(self, x: DType) -> DType:
        need_wide(x, "view_as_complex")
        return complex_of(x)

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        # The pairs must lie side by side.
        return t.torch.view_as_complex(x.contiguous())

    def numpy(self, np: Any, x: Any) -> Any:
        return _joined(np, x[..., 0], x[..., 1])
