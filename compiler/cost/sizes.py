"""Types with their symbols bound, and what follows from a type alone: elements and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import NamedTuple

from ..dtypes import DType, size_of
from ..errors import PlanformError
from ..graph.graph import Graph
from ..ops.core.counts import Cost
from ..sizes.dims import Size, at_least, divisible, equal, free_symbols, prod, substitute
from ..types import TensorType


class BindingError(PlanformError, ValueError):
    """Bindings that the graph cannot take: an unknown symbol, no integer, or a constraint that fails."""


class Measured(NamedTuple):
    """A type with its symbols bound, its number of elements, and the bytes of one element."""

    type: TensorType
    elements: Size
    width: int


class Binding:
    """Substitutes symbols in types, once for each type; `float_as` is what the float variable stands for."""

    def __init__(self, bindings: Mapping[str, int], float_as: DType) -> None:
        self.bindings = dict(bindings)
        self.float_as = float_as
        self._measured: dict[TensorType, Measured] = {}
        self._sizes: dict[Size, Size] = {}

    def size(self, size: Size) -> Size:
        """The size with the symbols bound."""
        if isinstance(size, int) or not self.bindings:
            return size
        known = self._sizes.get(size)
        if known is None:
            known = self._sizes[size] = substitute(size, self.bindings)
        return known

    def measure(self, type: TensorType) -> Measured:
        """The type with the symbols bound, and its extent."""
        known = self._measured.get(type)
        if known is None:
            shape = tuple([self.size(size) for size in type.shape])
            known = Measured(TensorType(shape, type.dtype), prod(shape), size_of(type.dtype, self.float_as))
            self._measured[type] = known
        return known

    def cost(self, cost: Cost) -> Cost:
        """The cost with the symbols bound: an operator's arguments may hold symbols that its shapes lack."""
        if not self.bindings:
            return cost
        fields = (cost.macs, cost.add, cost.multiply, cost.divide, cost.compare, cost.transcendental)
        if all(isinstance(field, int) for field in fields):
            return cost
        return Cost(*[self.size(field) for field in fields])


def symbols_of(graph: Graph) -> tuple[str, ...]:
    """The names of the free sizes of the graph's inputs, in order of their first appearance."""
    return tuple(
        dict.fromkeys(
            name for value in graph.inputs for size in value.shape for name in sorted(free_symbols(size))
        )
    )


def check_bindings(graph: Graph, bindings: Mapping[str, int]) -> None:
    """Raise `BindingError` where the graph has no such symbol, or a constraint of the graph does not hold."""
    if not bindings:
        return
    known = symbols_of(graph)
    for name, value in bindings.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            rest = (
                f"; did you mean {near[0]}?" if near else f"; its free sizes are {', '.join(known) or 'none'}"
            )
            raise BindingError(f"{graph.name} has no free size {name}{rest}")
        if not _is_count(value):
            raise BindingError(f"{name} is {value!r}, and must be an integer of at least 0")
    given = ", ".join(f"{name}={value}" for name, value in bindings.items())
    decide = {"==": equal, ">=": at_least, "%": divisible}
    for guard in graph.guards:
        left, right = substitute(guard.left, bindings), substitute(guard.right, bindings)
        if decide[guard.relation](left, right) is False:
            raise BindingError(f"{graph.name} needs {guard}, which {given} breaks: {guard.message}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
