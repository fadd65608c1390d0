"""Floats of 16 bits: they are in memory alone, and float32 wherever something is computed.

Bfloat16, which TVM's passes do not get right, is the bits of its elements, uint16: no type of a plan is that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

Expr = Any


NARROW = ("float16", "uint16")
"""Types of buffers with floats of 16 bits."""


def widen(stored: Expr) -> Expr:
    """What is read from a buffer, one element or a vector, as it is computed with."""
    kind, *lanes = str(stored.ty.dtype).split("x")
    wide, bits = ("x".join([name, *lanes]) for name in ("float32", "uint32"))
    match kind:
        case "float16":
            return stored.astype(wide)
        case "uint16":
            return tirx.reinterpret(wide, stored.astype(bits) << _u32(16))
        case _:
            return stored


def narrow(value: Expr, held: str, let: Callable[[Expr], Expr]) -> Expr:
    """A value as a buffer with elements of the type `held` wants it: the nearest, or of two the even one."""
    if held not in NARROW or str(value.ty.dtype) == held:
        return value
    value = value.astype("float32")
    if held == "float16":
        return value.astype("float16")
    value = let(value)
    bits = tirx.reinterpret("uint32", value)
    rounded = (bits + (_u32(0x7FFF) + ((bits >> _u32(16)) & _u32(1)))) >> _u32(16)
    nan = (bits & _u32(0x7FFFFFFF)) > _u32(0x7F800000)
    return tirx.Select(nan, _u32(0x7FC0), rounded).astype("uint16")


def _u32(value: int) -> Expr:
    return tirx.const(value, "uint32")
