"""Where values come from: inputs of the program and weights."""

from __future__ import annotations

from .core.base import Op, Shape
from .core.counts import NOTHING, Cost


class Source(Op):
    """A node without operands, whose type is given where it is made."""

    source = True
    internal = True

    def shape(self) -> Shape:
        """Never inferred: builders state the type."""
        return ()

    def cost(self, out: Shape) -> Cost:
        """Nothing."""
        return NOTHING

    def torch(self, t: object) -> None:
        """Lowered by the backend itself: a placeholder or an attribute."""


class Input(Source, name="input"):
    """An input of the program, by name."""

    label: str


class ReadWeight(Source, name="weight"):
    """A read of the weight table: the tensor of that path."""

    path: str
