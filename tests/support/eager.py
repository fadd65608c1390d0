"""Run operators on real torch tensors: the lowering that a backend traces, evaluated at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from planform.compiler.dtypes import bind
from planform.compiler.ops.core.base import Op

TORCH: dict[str, torch.dtype] = {
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
PLAN = {dtype: name for name, dtype in TORCH.items()}


@contextmanager
def in_double() -> Iterator[None]:
    """Torch makes float64 of what it makes floats of, as `float` is there."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


class Eager:
    """A `Lowering` whose operands are tensors; `float_as` binds the float variable."""

    torch = torch
    nn = torch.nn
    F = torch.nn.functional

    def __init__(self, float_as: str = "f32") -> None:
        self.float_as = float_as

    def shape(self, operand: torch.Tensor) -> tuple[int, ...]:
        return tuple(operand.shape)

    def rank(self, operand: torch.Tensor) -> int:
        return operand.dim()

    def dtype_of(self, operand: torch.Tensor) -> str:
        name = PLAN[operand.dtype]
        if name == self.float_as:
            return "float"
        return "complex" if name == bind("complex", self.float_as) else name

    def size(self, size: int) -> int:
        return size

    def dtype(self, dtype: str) -> torch.dtype:
        return TORCH[bind(dtype, self.float_as)]


def tensors(
    types: list[tuple[str, tuple[int, ...]]], float_as: str = "f32", device: str = "cpu", seed: int = 0
) -> list[torch.Tensor]:
    """Tensors of those plan types: normal floats, small non-negative integers, fair booleans."""
    generator = torch.Generator().manual_seed(seed)
    found: list[torch.Tensor] = []
    for name, shape in types:
        dtype = TORCH[bind(name, float_as)]
        if device == "meta":
            found.append(torch.empty(shape, dtype=dtype, device="meta"))
        elif dtype.is_floating_point or dtype.is_complex:
            found.append(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        else:
            found.append(torch.randint(0, 2, shape, generator=generator).to(dtype))
    return found


def seed() -> None:
    """The CPU's generator as it is always begun with. `torch.manual_seed` asks all accelerators too, and where one is
    not in use keeps for it how it was called, which takes longer than most operators.
    """
    torch.default_generator.manual_seed(0)


def run(
    op: Op, slots: tuple[str, ...], operands: list[torch.Tensor], float_as: str = "f32"
) -> list[torch.Tensor]:
    """What the operator's torch lowering gives, as a list."""
    result: Any = op.call(op.torch, op.arrange(slots, operands), Eager(float_as))
    return [result] if isinstance(result, torch.Tensor) else list(result)
