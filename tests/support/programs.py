"""Programs made by hand for tests: a function draws the network once for each mode."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from planform.compiler.dims import Size
from planform.compiler.graph import Builder, Graph, Node, TensorType, Tree, Value, Weight
from planform.compiler.ops.base import Mode
from planform.compiler.ops.init import Init, trunc_normal
from planform.compiler.program import Program

from .graphs import Net


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
