"""The plan's element types in TVM and in numpy."""

from __future__ import annotations

import numpy as np

from ....compiler.dtypes import DType, bind

_TVM = {
    "bool": "bool",
    "u8": "uint8",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "c64": "complex64",
    "c128": "complex128",
}


HALVES = ("float16", "bfloat16")
"""Types of which values are in memory alone, and computed with as float32."""


def tvm_dtype(dtype: DType, float_as: DType = "f32") -> str:
    """The type as TVM writes it, `float` bound; complex types are numpy's alone."""
    return _TVM[bind(dtype, float_as)]


def kernel_dtype(dtype: DType, float_as: DType = "f32") -> str:
    """The type that elements are computed in: float32 for floats of 16 bits."""
    name = tvm_dtype(dtype, float_as)
    return "float32" if name in HALVES else name


def storage_dtype(name: str) -> str:
    """The type of the elements of a buffer: bfloat16 is its 16 bits, so that TVM never sees it."""
    return "uint16" if name == "bfloat16" else name


def numpy_dtype(name: str) -> np.dtype:
    """Numpy's type of what TVM writes; bfloat16 is carried as its 16 bits."""
    return np.dtype(storage_dtype(name))


def widened(array: np.ndarray) -> np.ndarray:
    """Elements of 16 bits as float32; others as they are."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def narrowed(array: np.ndarray, name: str) -> np.ndarray:
    """As elements of the type, where numpy would not bring them into it by itself.

    Floats as bfloat16, to the nearest or of two to the even one; whole numbers by their low bits; and truth
    as what is not 0.
    """
    if name != "bfloat16":
        wanted = numpy_dtype(name)
        if wanted.kind == "b":
            return array != 0
        return array.astype(wanted) if wanted.kind in "iu" and array.dtype.kind in "iu" else array
    bits = np.asarray(array, np.float32, order="C").view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)
