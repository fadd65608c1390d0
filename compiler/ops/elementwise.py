"""Arithmetic of two tensors, or of a tensor and a scalar."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ..dtypes import DType, is_bool, is_integer
from ..sizes.dims import Dim, prod
from .core.base import Elements, Lowering, Shape, case
from .core.counts import NOTHING, Cost
from .core.rules import ShapeError, need_at_least
from .core.spans import Span, Spans, Types, below
from .pointwise import Binary

Compute = Callable[[Lowering, Any, Any], Any]


def by_operator(name: str) -> Compute:
    """Torch's tensors have the Python operator of that name in the module `operator`."""
    function = getattr(operator, name)
    return lambda t, left, right: function(left, right)


def by_name(name: str) -> Compute:
    """The function of that name in torch."""
    return lambda t, left, right: getattr(t.torch, name)(left, right)


_REAL = (
    case({}, (2, 3), (2, 3)),
    case({}, (4, 1, 3), (2, 1)),
    case({"scalar": 2}, (2, 3)),
    case({"scalar": 1.5, "reverse": True}, (2, 3)),
    case({"scalar": 2.5}, ("i64", (3,))),
    case({}, (2, 3), ("f64", ())),
)
_COMMON = (*_REAL, case({}, ("i64", (2, 3)), ("i32", (3,))))
_COMPLEX = (case({}, ("c64", (2, 3)), (3,)), case({"scalar": 3}, ("complex", (2,))))


class Add(Binary, name="add"):
    """Sum: [*s], [*s] -> [*s] under broadcasting; or with booleans, or."""

    counts = Cost(add=1)
    compute = by_operator("add")
    samples = (*_COMMON, *_COMPLEX, case({}, ("bool", (3,)), ("bool", (3,))))

    def cost_complex(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        return Cost(add=prod(out) * (1 if y is None else 2))


class Sub(Binary, name="sub"):
    """Difference: [*s], [*s] -> [*s] under broadcasting; booleans have none."""

    counts = Cost(add=1)
    compute = by_operator("sub")
    samples = (*_COMMON, *_COMPLEX)

    def result(self, operands: list[tuple[DType, int]]) -> DType:
        if any(is_bool(dtype) for dtype, _ in operands) or isinstance(self.scalar, bool):
            raise ShapeError(
                "sub takes numbers, and got a boolean", "dtype", help="use `logical_not` or `logical_xor`"
            )
        return super().result(operands)

    def cost_complex(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        # A scalar minus a complex number turns the sign of the imaginary part too.
        return Cost(add=prod(out) * (2 if y is not None or self.reverse else 1))


class Mul(Binary, name="mul"):
    """Product: [*s], [*s] -> [*s] under broadcasting; or with booleans, and."""

    counts = Cost(multiply=1)
    compute = by_operator("mul")
    samples = (*_COMMON, *_COMPLEX, case({}, ("bool", (3,)), ("bool", (3,))))

    def cost_complex(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        each = Cost(multiply=2) if y is None else Cost(multiply=4, add=2)
        return each.scaled(prod(out))


class Div(Binary, name="div"):
    """Quotient: [*s], [*s] -> [*s] under broadcasting; integers divide to `float`."""

    counts = Cost(divide=1)
    gives = "float"
    compute = by_operator("truediv")
    samples = (*_COMMON, *_COMPLEX, case({"scalar": 2, "reverse": True}, ("complex", (2,))))

    def cost_complex(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        # z / w = z * conj(w) / (re(w)^2 + im(w)^2); two multiplies and one add make the divisor.
        if y is not None:
            each = Cost(multiply=6, add=3, divide=2)
        elif self.reverse:
            each = Cost(multiply=4, add=2, divide=1)
        else:
            each = Cost(divide=2)
        return each.scaled(prod(out))


class Pow(Binary, name="pow"):
    """Power: [*s], [*s] -> [*s] under broadcasting.

    A scalar exponent 2 or 3 counts its multiplications, -1 one division, 0 and 1 nothing; any other is
    transcendental.
    """

    accepts = "ifc"
    compute = by_operator("pow")
    samples = (
        case({"scalar": 2}, (2, 3)),
        case({"scalar": 3}, ("complex", (3,))),
        case({"scalar": 2.0, "reverse": True}, (2, 3)),
        case({}, ("i64", (2, 3)), ("i64", (3,))),
        case({"scalar": 2.5}, ("i64", (3,))),
        case({"scalar": -1}, (4, 1, 3)),
        case({}, ("complex", (4, 1)), (2,)),
    )

    def result(self, operands: list[tuple[DType, int]]) -> DType:
        common = super().result(operands)
        exponent = None if self.reverse else self.scalar
        if is_integer(common) and isinstance(exponent, int) and exponent < 0:
            raise ShapeError(
                f"an integer tensor has no power {exponent}",
                "value",
                argument="scalar",
                help="write it as a float",
            )
        return common

    def te(self, t: Elements, x: Any, y: Any = None) -> Any:
        if "float" in t.dtype() or self._exponent() is not None:
            return super().te(t, x, y)

        def emit(b: Any, outs: list[Any]) -> None:
            shape = t.shape()
            with b.loops(shape, "i") as i:
                base, exponent = self.sides(t, i, x, y)
                power = self._whole_power(t, b, b.let(base), b.let(exponent))
                b.store(outs[0], power, *(i or [0]))

        return t.build([(t.shape(), t.dtype())], emit)[0]

    def _whole_power(self, t: Elements, b: Any, base: Any, exponent: Any) -> Any:
        """Squares for the exponent's bits; of a negative exponent 0, or that of 1 and -1."""
        one, zero = t.const(1), t.const(0)
        # The result, the square, and what is left of the exponent.
        cells = b.alloc([3], t.dtype(), "power")
        for at, value in enumerate((one, base, exponent)):
            b.store(cells, value, at)
        with b.repeat(cells[2] > zero):
            odd = cells[2] % t.const(2) == one
            b.store(cells, t.select(odd, cells[0] * cells[1], cells[0]), 0)
            b.store(cells, cells[1] * cells[1], 1)
            b.store(cells, cells[2] >> one, 2)
        parity = t.select(exponent % t.const(2) == zero, one, base)
        below = t.select(t.abs(base) == one, parity, zero)
        return t.select(exponent < zero, below, cells[0])

    def _exponent(self) -> float | None:
        given = None if self.reverse else self.scalar
        return float(given) if isinstance(given, (int, float)) else None

    def cost(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        simple = {
            0.0: NOTHING,
            1.0: NOTHING,
            2.0: Cost(multiply=1),
            3.0: Cost(multiply=2),
            -1.0: Cost(divide=1),
        }
        exponent = self._exponent()
        each = Cost(transcendental=1) if exponent is None else simple.get(exponent, Cost(transcendental=1))
        return each.scaled(prod(out))

    def cost_complex(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        # In general exp(w log z): |z| and the angle, their logarithm, one product, one exponential.
        general = Cost(multiply=8, add=3, transcendental=6)
        simple = {
            0.0: NOTHING,
            1.0: NOTHING,
            2.0: Cost(multiply=4, add=2),
            3.0: Cost(multiply=8, add=4),
            -1.0: Cost(multiply=2, add=2, divide=2),
        }
        exponent = self._exponent()
        return (general if exponent is None else simple.get(exponent, general)).scaled(prod(out))


class Quotient(Binary):
    """What whole numbers have no value of where the divisor is 0."""

    def result(self, operands: list[tuple[DType, int]]) -> DType:
        common = super().result(operands)
        if self.scalar is None or self.reverse or not (is_integer(common) or is_bool(common)):
            return common
        if isinstance(self.scalar, Dim):
            need_at_least(self.scalar, 1, f"the divisor of {self.name}")
        elif self.scalar == 0:
            raise ShapeError("division by zero", "value", argument="scalar", help="divide by a float")
        return common


class FloorDivide(Quotient, name="floor_divide"):
    """Quotient rounded down, `//`: [*s], [*s] -> [*s] under broadcasting; one divide."""

    counts = Cost(divide=1)
    accepts = "if"
    compute = by_operator("floordiv")
    # Torch has no derivative of it, and integers have no quotient by zero.
    samples = (
        case({"scalar": 2}, ("i64", (2, 3))),
        case({"scalar": -3}, ("i32", (2, 3))),
        case({"scalar": 7}, ("u8", (3,))),
        *_REAL,
    )


class Remainder(Quotient, name="remainder"):
    """Remainder with the divisor's sign, `%`: [*s], [*s] -> [*s] under broadcasting; one divide."""

    counts = Cost(divide=1)
    accepts = "if"
    compute = by_operator("mod")
    samples = _REAL

    def spans(self, types: Types, given: Spans) -> list[Span]:
        divisor = None if self.reverse else self.scalar
        return [below(divisor) if isinstance(divisor, int) and divisor > 0 else None]


class Maximum(Binary, name="maximum"):
    """The larger of two: [*s], [*s] -> [*s] under broadcasting."""

    counts = Cost(compare=1)
    accepts = "bif"
    lifts = True
    compute = by_name("maximum")
    samples = (*_COMMON, case({"scalar": True}, ("bool", (3,))))


class Minimum(Binary, name="minimum"):
    """The smaller of two: [*s], [*s] -> [*s] under broadcasting."""

    counts = Cost(compare=1)
    accepts = "bif"
    lifts = True
    compute = by_name("minimum")
    samples = Maximum.samples


class Atan2(Binary, name="atan2"):
    """Angle of the point (y, x) with x first, as torch.atan2(x, y): [*s], [*s] -> [*s] under broadcasting."""

    counts = Cost(transcendental=1)
    accepts = "bif"
    gives = "float"
    lifts = True
    compute = by_name("atan2")
    samples = _COMMON


class LogicalAnd(Binary, name="logical_and"):
    """Both are not zero: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    lifts = True
    compute = by_name("logical_and")
    samples = (*_COMMON, *_COMPLEX, case({}, ("bool", (3,)), ("bool", (3,))))


class LogicalOr(Binary, name="logical_or"):
    """One is not zero: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    lifts = True
    compute = by_name("logical_or")
    samples = LogicalAnd.samples


class LogicalXor(Binary, name="logical_xor"):
    """Exactly one is not zero: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    lifts = True
    compute = by_name("logical_xor")
    samples = LogicalAnd.samples
