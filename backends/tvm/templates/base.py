"""What templates have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tvm import tirx

from ..expressions import emitting
from ..follow import Onto
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
    """The main operator's result: an element is known where the template has just worked it out.

    `onto` gives for a result of the group the place of what is made of the element at an index; without an
    entry it is the index itself.
    """

    element: Callable[[tuple[Expr, ...]], Expr] | None = None

    def __init__(self, shape: Sequence[Any], dtype: str, name: str) -> None:
        super().__init__(shape, dtype, name)
        self.onto: dict[Tensor, Onto] = {}

    def at(self, indices: tuple[Expr, ...]) -> Expr:
        """The element that the template is at."""
        if self.element is None:
            return tirx.const(0, self.dtype)
        return self.element(indices)


def finish(
    loops: Loops, main: Accumulated, results: Sequence[Tensor], index: tuple[Expr, ...], element: Expr
) -> None:
    """Work the rest of the group out for an element of the main operator's result, and store it."""
    main.element = lambda _: element
    with emitting(loops):
        places = [main.onto[result](index) if result in main.onto else index for result in results]
        values = [result.at(place) for result, place in zip(results, places, strict=True)]
        for result, place, value in zip(results, places, values, strict=True):
            loops.store(result.buffer, value, *result.place(place))
    main.element = None


def zero(dtype: str) -> Any:
    """0 of a type."""
    return tirx.const(0.0 if "float" in dtype else 0, dtype)
