"""Weights laid out for a kernel, once, when a program is built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Packing:
    """Fill up with zeros to `padded`, take apart as `split`, and put the axes in this `order`."""

    padded: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of what is packed."""
        return tuple(self.split[axis] for axis in self.order)

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """The array packed."""
        after = [(0, most - size) for most, size in zip(self.padded, array.shape, strict=True)]
        filled = np.pad(array, after)
        return np.ascontiguousarray(filled.reshape(self.split).transpose(self.order))

    def __str__(self) -> str:
        return f"{list(self.padded)} {list(self.split)} {list(self.order)}"
