"""Result types of mixed arithmetic, with scalars and tensors without axes, as in torch.result_type."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, cast

from ...dtypes import BOOL, FLOAT, I64, DType, complex_of, is_bool, is_complex, is_float, is_integer, promote
from ...sizes.dims import Dim
from .rules import ShapeError

Number = bool | int | float | Dim

_CATEGORIES = {"b": is_bool, "i": is_integer, "f": is_float, "c": is_complex}
_NAMES = {"b": "boolean", "i": "integer", "f": "float", "c": "complex"}


def type_of_number(number: Number) -> DType:
    """The type that a scalar has by itself; a symbolic size is an integer."""
    if isinstance(number, bool):
        return BOOL
    return FLOAT if isinstance(number, float) else I64


def result_type(operands: Iterable[tuple[DType, int]], scalars: Iterable[Number] = ()) -> DType:
    """The common type of tensors, each given as (type, rank), and scalars.

    Tensors with axes decide first; those without, and scalars last, matter only where their category
    (boolean, integer, float, complex) is higher.
    """
    listed = list(operands)
    groups = (
        [dtype for dtype, rank in listed if rank > 0],
        [dtype for dtype, rank in listed if rank == 0],
        [type_of_number(scalar) for scalar in scalars],
    )
    result: DType | None = None
    for group in reversed(groups):
        if group:
            result = promote(group) if result is None else _raised(promote(group), result)
    assert result is not None, "there is no operand"
    return result


def _raised(higher: DType, lower: DType) -> DType:
    """`higher`, unless `lower` is of a higher category."""
    if is_complex(higher):
        return higher
    if is_float(higher):
        return complex_of(higher) if is_complex(lower) else higher
    if is_bool(higher) or is_float(lower) or is_complex(lower):
        return promote((higher, lower))
    return higher


def floating(dtype: DType) -> DType:
    """The type that functions with fractional results give: booleans and integers become `float`."""
    return dtype if is_float(dtype) or is_complex(dtype) else FLOAT


def need_element(number: Number, dtype: DType, argument: str) -> None:
    """A written number is an element of the type, or `ShapeError`: whole types do not hold all.

    As in torch, a negative integer may stand for the element of an unsigned type that it is modulo 2^bits.
    """
    if not is_integer(dtype) or isinstance(number, Dim):
        return
    unsigned, bits = dtype[0] == "u", int(dtype[1:])
    least, most = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    below = -most if unsigned and not isinstance(number, float) else least
    if not isfinite(number) or not below <= int(number) <= most:
        help = f"it holds {least} to {most}"
        raise ShapeError(f"{dtype} does not hold {number}", "value", argument=argument, help=help)


def need_category(dtype: DType, accepts: str, what: str, operand: str = "x") -> None:
    """The type is of one of the categories (letters of "bifc"), or `ShapeError`."""
    if not any(_CATEGORIES[letter](dtype) for letter in accepts):
        wanted = " or ".join(_NAMES[letter] for letter in accepts)
        help = "convert it: `x -> cast(float)`" if "f" in accepts and not is_complex(dtype) else None
        raise ShapeError(
            f"{what} takes {wanted} tensors, and got {dtype}", "dtype", ((operand, None),), help=help
        )


def exactly(value: Any) -> Any:
    """A key that tells 1, 1.0 and true apart, and 0.0 and -0.0, which Python's equality does not; tuples item
    by item.
    """
    if isinstance(value, tuple):
        return tuple(exactly(item) for item in cast("tuple[Any, ...]", value))
    if isinstance(value, float):
        return float, value.hex()
    return type(value), value
