"""Unsigned arithmetic that wraps around: TVM tells LLVM that no sum or product of 32 bits and more does."""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx

from ..tensor_ir.loops import type_of

_WIDE = {"uint32": ("int32", "int64"), "uint64": ("int64", "int128")}


def _widened(operation: Any) -> Any:
    """The same in twice the bits, of which the lower half is kept; LLVM makes it one instruction again."""
    kind, times, lanes = type_of(operation).partition("x")
    if kind not in _WIDE:
        return operation
    signed, wide = (f"{name}{times}{lanes}" for name in _WIDE[kind])
    operands = (operand.astype(signed).astype(wide) for operand in (operation.a, operation.b))
    return type(operation)(*operands).astype(type_of(operation))


def with_wraps(function: Any) -> Any:
    """A function whose unsigned sums, differences and products are modulo 2^bits."""
    return tvm_ffi.structural_map(function, ((tirx.Add, tirx.Sub, tirx.Mul), _widened))
