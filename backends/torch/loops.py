"""The loop of a scan: its step runs once for each position of an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn


class ScanLoop(nn.Module):
    """Runs a step graph along an axis: (sequence, *state, *captured) -> (outputs, *last state).

    `step` takes (slice, *state, *captured) and gives (output, *state). It owns no weights: they are operands.
    """

    def __init__(self, step: fx.GraphModule, axis: int, states: int, reverse: bool) -> None:
        super().__init__()
        self.step = step
        self.axis = axis
        self.states = states
        self.reverse = reverse

    def forward(self, sequence: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        """One pass over the axis; outputs stand where their slices stood."""
        state, captured = operands[: self.states], operands[self.states :]
        slices: Sequence[Tensor] = sequence.unbind(self.axis)
        outputs: list[Tensor] = []
        for piece in reversed(slices) if self.reverse else slices:
            output, *state = self.step(piece, *state, *captured)
            outputs.append(output)
        if self.reverse:
            outputs.reverse()
        return (torch.stack(outputs, self.axis), *state)

    def extra_repr(self) -> str:
        """Shown where the module is printed."""
        return f"axis={self.axis}, reverse={self.reverse}"


def step_module(lowered: fx.Graph, loops: Mapping[str, ScanLoop]) -> fx.GraphModule:
    """A step's graph as a module without parameters; `loops` are those of scans inside it."""
    root = nn.Module()
    for name, loop in loops.items():
        root.add_module(name, loop)
    return fx.GraphModule(root, lowered, "Step")
