"""Element types of the plan as torch's."""

from __future__ import annotations

from typing import Final

import torch

from ...compiler.dtypes import COMPLEX, FLOAT, DType, bind
from ...compiler.errors import ArgumentError

_TORCH: Final[dict[DType, torch.dtype]] = {
    "bool": torch.bool,
    "u8": torch.uint8,
    "i8": torch.int8,
    "i16": torch.int16,
    "i32": torch.int32,
    "i64": torch.int64,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
    "c64": torch.complex64,
    "c128": torch.complex128,
}
_PLAN: Final = {found: name for name, found in _TORCH.items()}


def torch_dtype(dtype: DType, float_as: torch.dtype = torch.float32) -> torch.dtype:
    """The torch type, with the plan's variable `float` bound."""
    if not float_as.is_floating_point:
        raise ArgumentError(
            f"a plan's floats cannot be {float_as}; use torch.float32, float64, float16 or bfloat16"
        )
    return _TORCH[bind(dtype, _PLAN[float_as])]


def plan_dtype(dtype: torch.dtype, float_as: torch.dtype = torch.float32) -> DType:
    """The plan's type of a torch type; what the variables are bound to counts as the variable."""
    if dtype == float_as:
        return FLOAT
    return COMPLEX if dtype == torch_dtype(COMPLEX, float_as) else _PLAN[dtype]
