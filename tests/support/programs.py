"""Programs made by hand for tests: a function draws the network once for each mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Graph, Node, Origin, Tree, Value, Weight
from planform.compiler.graph.program import Program
from planform.compiler.ops import Op, registry
from planform.compiler.ops.core.base import Mode
from planform.compiler.ops.core.init import Init, trunc_normal
from planform.compiler.ops.core.rules import ShapeError
from planform.compiler.sizes.dims import Size, symbol
from planform.compiler.types import TensorType

from .eager import run, tensors
from .graphs import Net
from .opcases import Application, samples


class ModeBuilder(Builder):
    """A builder that puts every operator into a mode."""

    def __init__(self, name: str, mode: Mode) -> None:
        super().__init__(name)
        self.mode: Mode = mode

    def add(self, op: Any, inputs: Any, *rest: Any, **named: Any) -> Node:
        active = op.in_mode(self.mode)
        if active is None:
            return SimpleNamespace(results=(inputs[0],))  # pyright: ignore[reportReturnType]
        return super().add(active, inputs, *rest, **named)


class ModeNet(Net):
    """A net in a mode, with the shorthands that the tests of the torch backend use."""

    def __init__(self, name: str, mode: Mode) -> None:
        super().__init__(name)
        self.builder = ModeBuilder(name, mode)
        self.mode = mode

    def param(self, label: str, *shape: Size, init: Init | Graph | None = None, **how: Any) -> Value:
        """A weight made or read by its label in the block."""
        dtype = how.pop("dtype", "float")
        content = trunc_normal(0.02) if init is None else init
        return self.builder.weight(Weight(self._path(label), TensorType(shape, dtype), content, **how))

    def apply(
        self, name: str, *inputs: Value, slots: str = "x", label: str = "", **arguments: Any
    ) -> tuple[Value, ...]:
        """Apply a core operator to operands with those slots; all its results."""
        operator: Any = registry()[name](**arguments)
        origin = Origin("test", self.region)
        path = self._path(label) or None
        return self.builder.add(operator, inputs, tuple(slots.split()[: len(inputs)]), path, origin).results


def program(name: str, draw: Callable[[ModeNet], Tree], *modes: Mode) -> Program:
    """The program whose graph in each mode `draw` builds."""
    graphs: dict[Mode, Graph] = {}
    weights: dict[str, Weight] = {}
    for mode in modes or ("train", "eval"):
        net = ModeNet(name, mode)
        output = draw(net)
        state = [value for node in net.builder.nodes if "state" in node.effects for value in node.results]
        graphs[mode] = net.builder.freeze(output, state)
        weights |= {path: weight for path, weight in graphs[mode].weights.items() if path not in weights}
    return Program(name, graphs, weights)


def operator_cases() -> list[Any]:
    """Every sample of every core operator, as parameters of a test."""
    return [
        pytest.param(case, id=f"{name}-{number}")
        for name, operator in sorted(registry().items())
        if issubclass(operator, Op)
        for number, case in enumerate(samples(operator))
    ]


def operator_program(
    case: Application, free: bool
) -> tuple[Program, list[torch.Tensor], list[torch.Tensor]] | None:
    """A program of one operator, inputs, and what the operator's lowering gives on them.

    `free` makes sizes of the operands symbols: all that are alike, or else the first axis of the first operand. None
    where the operator does not take such, or is random.
    """
    op, slots, types = case.core()
    active = op.in_mode("eval")
    if active is None or active.effects:
        return None
    given = tensors([(type.dtype, type.shape) for type in types])  # pyright: ignore[reportArgumentType]
    if op.name in ("floor_divide", "remainder"):
        given = [x.abs() + 1 for x in given]
    for shapes in _freed([type.shape for type in types]) if free else [[type.shape for type in types]]:
        builder = Builder("net")
        inputs = [
            builder.input(f"x{number}", TensorType(shape, type.dtype))
            for number, (shape, type) in enumerate(zip(shapes, types, strict=True))
        ]
        try:
            results = builder.add(active, inputs, slots).results
        except ShapeError:
            continue
        graph = builder.freeze(results if len(results) > 1 else results[0])
        return Program("net", {"eval": graph}, {}), given, run(active, slots, given)
    return None


def _freed(shapes: list[tuple[Size, ...]]) -> Iterator[list[tuple[Size, ...]]]:
    names = {
        size: symbol(f"S{size}") for shape in shapes for size in shape if isinstance(size, int) and size > 1
    }
    yield [tuple(names.get(size, size) for size in shape) for shape in shapes]
    batch = next(iter(shapes[0]), 1) if shapes else 1
    if batch in names:
        yield [(names[batch], *shape[1:]) if shape and shape[0] == batch else shape for shape in shapes]
        yield [(names[batch], *shapes[0][1:]), *shapes[1:]]
