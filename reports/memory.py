"""A memory plan for people: figures, bytes over steps, and what is in use at the peak."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cost import human

if TYPE_CHECKING:
    from ..compiler.memory import Buffer, MemoryPlan

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ROWS = 8


def memory_view(plan: MemoryPlan, name: str, top: int = 10, width: int = 100) -> Any:
    """A memory plan as a rich renderable of at most `width` columns; `top` tensors of the peak are listed."""
    from rich.console import Group
    from rich.text import Text

    bound = [f"{symbol}={size}" for symbol, size in plan.bindings.items()]
    head = Text.assemble((name, "bold"), ("  " + " · ".join(["eval", *bound, plan.float_as]), "dim"))
    parts: list[Any] = [head, Text(), *[Text(line) for line in _figures(plan)]]
    if plan.steps:
        parts += [Text(), *_chart(plan, min(width, 100))]
        if top:
            parts += [Text(), _tensors(plan, top)]
    return Group(*parts)


def _figures(plan: MemoryPlan) -> list[str]:
    gap = plan.size - plan.lower_bound
    proof = (
        f"{human(gap, 'B')} more than is in use at the peak" if gap else "as much as is in use at the peak"
    )
    if plan.least:
        proof += ", which no order of the operators lowers"
    lines = [
        f"arena        {human(plan.size, 'B')}, {proof}",
        f"as written   {human(plan.given_peak, 'B')} in the plan's own order, with no result in place",
        f"in place     {plan.in_place} of {len(plan.buffers)} results",
    ]
    outside = [f"{human(size, 'B')} of {kind}" for kind, size in plan.outside.items() if size]
    if outside:
        lines.append(f"not planned  {', '.join(outside)}")
    if plan.steps:
        node = plan.steps[plan.peak].node
        where = _place(node)
        lines.append(
            f"peak         step {plan.peak + 1} of {len(plan.steps)}: {_called(node)}  {where}".rstrip()
        )
    return lines


def _called(node: Any) -> str:
    from ..compiler.memory.plan import name_of

    name = name_of(node)
    return name if name.endswith(node.op.title) else f"{name} ({node.op.title})"


def _place(node: Any) -> str:
    """File, line and column in the plan, without the folders."""
    from ..compiler.memory.plan import place_of

    return Path(place_of(node)).name if place_of(node) else ""


def _chart(plan: MemoryPlan, width: int) -> list[Any]:
    """Bytes in use over the steps as columns of blocks; a column of several steps shows the highest."""
    from rich.text import Text

    labels = [human(plan.lower_bound, "B") if row == _ROWS - 1 else "" for row in range(_ROWS)]
    margin = max(len(label) for label in labels) + 1
    columns = min(len(plan.steps), width - margin)
    bounds = [column * len(plan.steps) // columns for column in range(columns + 1)]
    heights = [max(step.live for step in plan.steps[a:b]) for a, b in pairwise(bounds)]
    most = max(plan.lower_bound, 1)
    eighths = [-(-height * _ROWS * 8 // most) for height in heights]
    lines: list[Any] = []
    for row in reversed(range(_ROWS)):
        line = Text(labels[row].rjust(margin - 1) + " ", "dim")
        for column, count in enumerate(eighths):
            at_peak = bounds[column] <= plan.peak < bounds[column + 1]
            line.append(_EIGHTHS[min(max(count - 8 * row, 0), 8)], "bold red" if at_peak else "cyan")
        line.rstrip()
        lines.append(line)
    return lines


def _tensors(plan: MemoryPlan, top: int) -> Any:
    """The largest tensors in use at the peak, with the plan's lines that make them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    found = plan.at(plan.peak)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("at the peak", "shape", "bytes", "steps", "line"):
        table.add_column(
            head, justify="right" if head == "bytes" else "left", no_wrap=True, overflow="ellipsis"
        )
    for buffer in found[:top]:
        steps = (
            f"{buffer.first + 1}-{buffer.last + 1}" if buffer.last > buffer.first else str(buffer.first + 1)
        )
        cells = (_called(buffer.node), _shape(buffer), human(buffer.size, "B"), steps, _place(buffer.node))
        table.add_row(*[Text(cell) for cell in cells])
    if len(found) > top:
        rest = sum(buffer.size for buffer in found[top:])
        table.add_row(Text(f"and {len(found) - top} more", "dim"), "", Text(human(rest, "B"), "dim"), "", "")
    return table


def _shape(buffer: Buffer) -> str:
    return str(buffer.type) if buffer.type else "room to work in"
