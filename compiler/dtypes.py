"""Element types of tensors.

`float` and `complex` are variables, bound when a model is built (f32 and c64 by default); all others are
fixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

DType = str

BOOL: Final = "bool"
I64: Final = "i64"
FLOAT: Final = "float"
COMPLEX: Final = "complex"

# Ranks within one category; a wider type wins. The variable stands at the width of its default.
_CATEGORY: Final[dict[DType, tuple[int, int]]] = {
    "bool": (0, 0),
    "u8": (1, 0),
    "i8": (1, 1),
    "i16": (1, 2),
    "i32": (1, 3),
    "i64": (1, 4),
    "f16": (2, 0),
    "bf16": (2, 1),
    "f32": (2, 2),
    "float": (2, 3),
    "f64": (2, 4),
    "c64": (3, 0),
    "complex": (3, 1),
    "c128": (3, 2),
}

_BYTES: Final[dict[DType, int]] = {
    "bool": 1,
    "u8": 1,
    "i8": 1,
    "i16": 2,
    "i32": 4,
    "i64": 8,
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
    "c64": 8,
    "c128": 16,
}

DTYPES: Final = tuple(_CATEGORY)
FLOATS: Final = ("f16", "bf16", "f32", "f64")
_COMPLEX_OF: Final = {"float": "complex", "f32": "c64", "f64": "c128", "f16": "c64", "bf16": "c64"}
_REAL_OF: Final = {"complex": "float", "c64": "f32", "c128": "f64"}


def is_bool(dtype: DType) -> bool:
    """Whether the type is boolean."""
    return dtype == BOOL


def is_integer(dtype: DType) -> bool:
    """Whether the type is an integer (booleans are not)."""
    return _CATEGORY[dtype][0] == 1


def integer_range(dtype: DType) -> tuple[int, int]:
    """The least and the largest value of an integer or boolean type."""
    if is_bool(dtype):
        return 0, 1
    bits = 8 * _BYTES[dtype]
    return (0, 2**bits - 1) if dtype == "u8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def is_float(dtype: DType) -> bool:
    """Whether the type is real floating point."""
    return _CATEGORY[dtype][0] == 2


def is_complex(dtype: DType) -> bool:
    """Whether the type is complex."""
    return _CATEGORY[dtype][0] == 3


def promote(dtypes: Iterable[DType]) -> DType:
    """The type of mixed arithmetic, as in torch: the highest category, and the widest type in it."""
    found = sorted(set(dtypes), key=lambda dtype: _CATEGORY[dtype])
    if not found:
        return FLOAT
    result = found[-1]
    if result == "i8" and "u8" in found:
        return "i16"
    if result == "bf16" and "f16" in found:
        return "f32"
    if is_complex(result):
        floats = [d for d in found if is_float(d)]
        if floats:
            return max(result, complex_of(floats[-1]), key=lambda dtype: _CATEGORY[dtype])
    return result


def complex_of(dtype: DType) -> DType:
    """The complex type over a real one."""
    return _COMPLEX_OF.get(dtype, dtype if is_complex(dtype) else COMPLEX)


def real_of(dtype: DType) -> DType:
    """The real type under a complex one; a real type is itself."""
    return _REAL_OF.get(dtype, dtype)


def bind(dtype: DType, float_as: DType = "f32") -> DType:
    """The type with the variables bound: `float` is `float_as`."""
    if dtype == FLOAT:
        return float_as
    if dtype == COMPLEX:
        return complex_of(float_as)
    return dtype


def size_of(dtype: DType, float_as: DType = "f32") -> int:
    """Bytes of one element."""
    return _BYTES[bind(dtype, float_as)]
