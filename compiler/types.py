"""Types of values: shapes and element types."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .dtypes import FLOAT, DType
from .sizes.dims import Size, render

if TYPE_CHECKING:
    pass


Shape = tuple[Size, ...]


class TensorType(NamedTuple):
    """Shape (sizes from the slowest axis to the fastest) and element type."""

    shape: Shape
    dtype: DType = FLOAT

    def __str__(self) -> str:
        text = "[" + ", ".join(render(size) for size in self.shape) + "]"
        return text if self.dtype == FLOAT else self.dtype + text
