"""A memory plan as a picture: steps from left to right, bytes of the arena from the bottom up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..graph.graph import Node
from ..memory.plan import Buffer, MemoryPlan, name_of, place_of
from ..names import markup as escape

WIDTH, HEIGHT = 960.0, 420.0
LEFT, RIGHT, TOP, BOTTOM = 78.0, 24.0, 64.0, 52.0
SANS = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, PEAK = "#0f172a", "#dc2626"
# One for each part of the network, in turn; a part is a label that has at most this share of the buffers.
_MOST = 0.6
COLOURS = ("#c7d2fe", "#bae6fd", "#bbf7d0", "#fde68a", "#fecaca", "#ddd6fe", "#fbcfe8", "#d9f99d")


def to_svg(plan: MemoryPlan) -> str:
    """The plan as a standalone SVG document.

    A rectangle for each buffer, from its first to its last step and at its place in the arena; hovering tells
    what it is. The line is the bytes in use at each step; the peak is marked, with its operator and line of
    the plan.
    """
    frame = _Frame(max(len(plan.steps), 1), max(plan.size, 1))
    depth = _depth(plan)
    colours: dict[str, str] = {}
    for buffer in plan.buffers:
        colours.setdefault(_scope(buffer, depth), COLOURS[len(colours) % len(COLOURS)])
    title = f"{plan.graph.name}: {plan.size:,} bytes in {len(plan.steps)} steps"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{HEIGHT:.0f}"'
        f' viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" font-family="{SANS}" font-size="12">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(LEFT, 24, title, weight="600", size=14),
        *_axes(frame, plan),
        *[_rectangle(frame, buffer, colours[_scope(buffer, depth)]) for buffer in plan.buffers],
        *_line(frame, plan),
        *_mark(frame, plan),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


class _Frame:
    """Where steps and bytes are in the picture."""

    def __init__(self, steps: int, size: int) -> None:
        self.steps = steps
        self.size = size

    def x(self, step: float) -> float:
        """Where a step begins."""
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self.steps

    def y(self, size: float) -> float:
        """The height of an offset in the arena."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * size / self.size


def _scope(buffer: Buffer, depth: int) -> str:
    """The outermost labels of a buffer's path."""
    return ".".join(buffer.path.split(".")[:depth])


def _depth(plan: MemoryPlan) -> int:
    """How many labels tell the parts of the network apart: so many that no part has most of the buffers."""
    longest = max([buffer.path.count(".") + 1 for buffer in plan.buffers], default=1)
    for depth in range(1, longest):
        counts = Counter([_scope(buffer, depth) for buffer in plan.buffers])
        if max(counts.values()) <= _MOST * len(plan.buffers):
            return depth
    return longest


def _line_of(node: Node) -> str:
    """The plan's line that a node comes from, without the folders of its file."""
    return Path(place_of(node)).name if place_of(node) else ""


def _rectangle(frame: _Frame, buffer: Buffer, colour: str) -> str:
    left, right = frame.x(buffer.first), frame.x(buffer.last + 1)
    top, bottom = frame.y(buffer.offset + buffer.size), frame.y(buffer.offset)
    about = f"{buffer.path}: {buffer.type or 'room to work in'}, {buffer.size:,} bytes at {buffer.offset:,}"
    about += f", steps {buffer.first + 1} to {buffer.last + 1}"
    about = escape(about)
    if place := _line_of(buffer.node):
        about += f"\n{escape(place)}"
    return (
        f'<rect x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" height="{bottom - top:.2f}"'
        f' fill="{colour}" stroke="#ffffff" stroke-width="0.6"><title>{about}</title></rect>'
    )


def _axes(frame: _Frame, plan: MemoryPlan) -> Iterator[str]:
    for tick in _ticks(frame.size):
        y = frame.y(tick)
        yield f'<path d="M{LEFT} {y:.2f} H{WIDTH - RIGHT}" stroke="#e2e8f0"/>'
        yield _text(LEFT - 8, y + 4, f"{tick / 1e6:g} MB" if tick else "0", "end", "#475569")
    for tick in _ticks(frame.steps):
        yield _text(frame.x(tick), HEIGHT - BOTTOM + 18, str(tick), "middle", "#475569")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "steps", "middle", "#475569")


def _ticks(most: int) -> list[int]:
    """Round numbers from 0 on, at most seven."""
    unit = 1
    while True:
        for factor in (1, 2, 5):
            if most / (unit * factor) <= 6:
                return list(range(0, most + 1, unit * factor))
        unit *= 10


def _line(frame: _Frame, plan: MemoryPlan) -> Iterator[str]:
    """Bytes in use at each step."""
    if plan.steps:
        corners = [
            f"H{frame.x(number):.2f} V{frame.y(step.live):.2f}" for number, step in enumerate(plan.steps)
        ]
        path = f"M{LEFT} {frame.y(0):.2f} {' '.join(corners)} H{frame.x(frame.steps):.2f}"
        yield f'<path d="{path}" fill="none" stroke="{INK}" stroke-width="1.3" stroke-linejoin="round"/>'


def _mark(frame: _Frame, plan: MemoryPlan) -> Iterator[str]:
    """The peak, with its operator and the plan's line."""
    if not plan.steps:
        return
    node = plan.steps[plan.peak].node
    x, y = frame.x(plan.peak + 0.5), frame.y(plan.lower_bound)
    text = f"peak {plan.lower_bound:,} bytes: {name_of(node)} ({node.op.title})  {_line_of(node)}".rstrip()
    yield (
        f'<path d="M{x:.2f} {TOP - 14} V{HEIGHT - BOTTOM}" stroke="{PEAK}" stroke-dasharray="3 3"/>'
        f'<circle cx="{x:.2f}" cy="{y:.2f}" r="3.5" fill="{PEAK}"/>'
    )
    # Written to the side that has room.
    right_half = x > (LEFT + WIDTH) / 2
    yield _text(x - 6 if right_half else x + 6, TOP - 8, text, "end" if right_half else "start", PEAK)


def _text(
    x: float, y: float, text: str, anchor: str = "start", fill: str = INK, weight: str = "400", size: int = 12
) -> str:
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}"'
        f' font-size="{size}">{escape(text)}</text>'
    )
