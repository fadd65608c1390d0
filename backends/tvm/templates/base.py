"""What templates have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tvm import tirx

from ..layouts import Layout
from ..loops import Expr, Loops
from ..machine import Machine
from ..packing import Packing
from ..tensors import Tensor


class Template(Protocol):
    """A way to run a main operator. `packings` are by operand name; `layout` is that of the result."""

    packings: Mapping[str, Packing]
    layout: Layout

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Machine,
    ) -> None:
        """Write the loops; packed operands are read by the packed index."""
        ...


class Accumulated(Tensor):
    """The main operator's result: an element is known where the template has just worked it out."""

    element: Callable[[tuple[Expr, ...]], Expr] | None = None

    def at(self, indices: tuple[Expr, ...]) -> Expr:
        """The element that the template is at."""
        if self.element is None:
            return tirx.const(0, self.dtype)
        return self.element(indices)


def zero(dtype: str) -> Any:
    """0 of a type."""
    return tirx.const(0.0 if "float" in dtype else 0, dtype)
