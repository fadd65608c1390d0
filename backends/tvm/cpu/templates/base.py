"""What templates have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from tvm import tirx

from .....compiler.devices import Cpu
from ...runtime.packing import Packing
from ...tensor_ir.expressions import emitting
from ...tensor_ir.index_maps import IndexMap
from ...tensor_ir.layouts import Layout
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.tensors import Tensor


class Template(Protocol):
    """A way to run a main operator. `packings` are by operand name; `layout` is that of the result.

    `emit` is given results in the order in which they are made of each other.
    """

    packings: Mapping[str, Packing]
    layout: Layout

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """Write the loops; packed operands are read by the packed index."""
        ...


class Accumulated(Tensor):
    """The main operator's result: an element is known where the template has just worked it out.

    `index_map` gives for a result of the group the place of what is made of the element at an index; without
    an entry it is the index itself.
    """

    def __init__(self, shape: Sequence[Any], dtype: str, name: str) -> None:
        super().__init__(shape, dtype, name)
        self.index_map: dict[Tensor, IndexMap] = {}


def elements(
    main: Accumulated,
    results: Sequence[Tensor],
    index: tuple[Expr, ...],
    element: Expr,
    let: Callable[[Expr], Expr],
) -> Iterator[tuple[Tensor, tuple[Expr, ...], Expr]]:
    """The results' elements that belong to one of the main operator's: each with its place and its value.

    Results come after those that they read. Each is worked out once: who reads it reads the value, to which
    `let` gives a name, and never the memory of the result, which is not written yet.
    """
    main.element = element
    try:
        for result in results:
            place = main.index_map[result](index) if result in main.index_map else index
            value = result.at(place)
            if result is not results[-1]:
                value = let(value)
            result.element = value
            yield result, place, value
    finally:
        for tensor in (main, *results):
            tensor.element = None


def finish(
    loops: Loops, main: Accumulated, results: Sequence[Tensor], index: tuple[Expr, ...], element: Expr
) -> None:
    """Work the rest of the group out for an element of the main operator's result, and store it."""
    with emitting(loops):
        for result, place, value in elements(main, results, index, element, loops.let):
            loops.store(result.buffer, value, *result.place(place))


def zero(dtype: str) -> Any:
    """0 of a type."""
    return tirx.const(0.0 if "float" in dtype else 0, dtype)
