"""Weights laid out for a kernel, once, when a program is built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dtypes import HALVES, widened


@dataclass(frozen=True)
class Packing:
    """Fill up with zeros to `padded`, take apart as `split`, and put the axes in this `order`.

    Before that, `sides` takes each matrix W of the last two axes to `sides` . W . `sides`^T, in float64, and
    `shaped` gives the elements other axes, so that parts of one may be filled up.
    """

    padded: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]
    sides: tuple[tuple[float, ...], ...] = ()
    shaped: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of what is packed."""
        return tuple(self.split[axis] for axis in self.order)

    def dtype(self, given: str) -> str:
        """The type of what is packed: sums of floats of 16 bits are float32."""
        return "float32" if self.sides and given in HALVES else given

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """The array packed."""
        given = self._transformed(array) if self.sides else array
        given = given.reshape(self.shaped) if self.shaped else given
        if given.shape != self.padded:
            given = self._filled(given)
        return np.ascontiguousarray(given.reshape(self.split).transpose(self.order))

    def _filled(self, array: np.ndarray) -> np.ndarray:
        """The array with zeros behind: no result is made of them."""
        after = [(0, most - size) for most, size in zip(self.padded, array.shape, strict=True)]
        return np.pad(array, after)

    def _transformed(self, array: np.ndarray) -> np.ndarray:
        sides = np.array(self.sides)
        array = widened(array)
        flat = array.reshape(-1, sides.shape[1] ** 2).astype(np.float64)
        made = (flat @ np.kron(sides, sides).T).astype(array.dtype)
        return made.reshape(*array.shape[:-2], len(sides), len(sides))

    def __str__(self) -> str:
        sides = f" {[list(row) for row in self.sides]}" if self.sides else ""
        shaped = f" of {list(self.shaped)}" if self.shaped else ""
        return f"{list(self.padded)} {list(self.split)} {list(self.order)}{sides}{shaped}"
