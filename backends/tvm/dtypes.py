"""The plan's element types in TVM and in numpy."""

from __future__ import annotations

import numpy as np

from ...compiler.dtypes import DType, bind

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


def tvm_dtype(dtype: DType, float_as: DType = "f32") -> str:
    """The type as TVM writes it, `float` bound; complex types are numpy's alone."""
    return _TVM[bind(dtype, float_as)]


def numpy_dtype(name: str) -> np.dtype:
    """Numpy's type of what TVM writes; bfloat16 is carried as its 16 bits."""
    return np.dtype("uint16" if name == "bfloat16" else name)
