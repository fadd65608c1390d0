"""Pictures of graphs as SVG: boxes in layers from top to bottom, shapes written at the arrows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..names import markup
from .draw import Box, Edge, Picture
from .layout import Item, lay_out

MARGIN = 24.0
PAD = 14.0
LABEL_ROOM = 22.0
BEND = 26.0
CARD = 3.0
SANS = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# Fill, border and text of each kind of box.
COLOURS = {
    "input": ("#f1f5f9", "#94a3b8", "#334155"),
    "output": ("#f1f5f9", "#94a3b8", "#334155"),
    "block": ("#e0e7ff", "#6366f1", "#312e81"),
    "operator": ("#ffffff", "#94a3b8", "#0f172a"),
}


@dataclass
class _Drawn:
    """A box with its lines of text, size, and the places (from its centre) where edges leave and enter it."""

    box: Box
    width: float
    height: float
    out_ports: dict[int, float]
    in_ports: dict[int, float]
    room_right: float

    @property
    def stack(self) -> float:
        """How far the cards behind a repeated box stick out."""
        return 2 * CARD if self.box.repeat > 1 else 0.0


def to_svg(picture: Picture) -> str:
    """The picture as a standalone SVG document."""
    leaving: list[list[int]] = [[] for _ in picture.boxes]
    entering: list[list[int]] = [[] for _ in picture.boxes]
    for number, edge in enumerate(picture.edges):
        leaving[edge.source].append(number)
        entering[edge.target].append(number)
    labels = _label_places(picture, leaving)
    drawn = [
        _measure(box, picture, labels, leaving[at], entering[at]) for at, box in enumerate(picture.boxes)
    ]
    items = [Item(box.width / 2, box.room_right, box.height) for box in drawn]
    layout = lay_out(items, [(edge.source, edge.target) for edge in picture.edges])

    # Where an edge leaves and enters depends on where it goes, which is known now.
    for at, box in enumerate(drawn):
        x = layout.x[at]
        below = [_next_x(edge, picture, layout.x, layout.routes) for edge in leaving[at]]
        above = [_last_x(edge, picture, layout.x, layout.routes) for edge in entering[at]]
        box.out_ports = _ports(leaving[at], box.out_ports, below, box, x)
        box.in_ports = _ports(entering[at], box.in_ports, above, box, x)

    low = any(place == "target" for place in labels.values())
    gap = LABEL_ROOM + BEND + (LABEL_ROOM if low else 8.0)
    tops: list[float] = []
    y = MARGIN
    for height in layout.heights:
        tops.append(y)
        y += height + gap
    bottom = y - gap + MARGIN if tops else 2 * MARGIN
    left = min([x - box.width / 2 for x, box in zip(layout.x, drawn, strict=True)], default=0.0)
    right = max([x + box.room_right for x, box in zip(layout.x, drawn, strict=True)], default=0.0)
    for route in layout.routes:
        left, right = min([left, *route]), max([right, *route])
    shift = MARGIN - left
    width = right - left + 2 * MARGIN

    body: list[str] = []
    texts: list[str] = []
    for number, edge in enumerate(picture.edges):
        source, target = drawn[edge.source], drawn[edge.target]
        start = shift + layout.x[edge.source] + source.out_ports[number]
        end = shift + layout.x[edge.target] + target.in_ports[number]
        row = layout.layer[edge.source]
        from_y = _top(source, tops[row], layout.heights[row]) + source.height + source.stack
        last = layout.layer[edge.target]
        to_y = _top(target, tops[last], layout.heights[last])
        stops = [(shift + x, row + 1 + k) for k, x in enumerate(layout.routes[number])]
        body.append(_edge(start, from_y, end, to_y, stops, row, tops, layout.heights))
        if labels[number] == "source":
            rightmost = shift + layout.x[edge.source] + max(source.out_ports.values())
            texts.append(_label(edge, rightmost + 6, from_y + 14))
        elif labels[number] == "target":
            texts.append(_label(edge, end + 6, to_y - 10))
    for at, box in enumerate(drawn):
        row = layout.layer[at]
        body.append(_box(box, shift + layout.x[at], _top(box, tops[row], layout.heights[row])))
    title = markup(picture.name)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{bottom:.0f}"'
            f' viewBox="0 0 {width:.1f} {bottom:.1f}" role="img">',
            f"<title>{title}</title>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
            ' orient="auto"><path d="M0 0.8 L7.5 4 L0 7.2 z" fill="#64748b"/></marker></defs>',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *body,
            *texts,
            "</svg>",
            "",
        ]
    )


def _label_places(picture: Picture, leaving: Sequence[Sequence[int]]) -> dict[int, str]:
    """Where shapes are written: once below the source if all its edges carry the same, else at targets."""
    places = dict.fromkeys(range(len(picture.edges)), "target")
    for edges in leaving:
        if len({picture.edges[number].label for number in edges}) == 1:
            places |= dict.fromkeys(edges, "")
            places[edges[0]] = "source"
    return places


def _measure(
    box: Box, picture: Picture, labels: dict[int, str], leaving: list[int], entering: list[int]
) -> _Drawn:
    lines = [len(box.title) * 8.0 + (34 if box.repeat > 1 else 0)]
    lines += [len(text) * 6.7 for text in (box.path, box.detail) if text]
    width = max(72.0, *lines) + 2 * PAD
    height = 14 + 17 + 15 * sum(1 for text in (box.path, box.detail) if text)
    below = [_text_width(picture.edges[number]) for number in leaving if labels[number] == "source"]
    above = [_text_width(picture.edges[number]) for number in entering if labels[number] == "target"]
    step = max([18.0, *(text + 14 for text in above)]) if above else 18.0
    width = max(width, step * len(entering) + 8, 18.0 * len(leaving) + 8)
    out_ports = _spaced(leaving, 18.0)
    in_ports = _spaced(entering, step)
    reach = [max(out_ports.values(), default=0.0) + 6 + text for text in below]
    reach += [max(in_ports.values(), default=0.0) + 6 + text for text in above]
    return _Drawn(box, width, float(height), out_ports, in_ports, max([width / 2, *reach]))


def _text_width(edge: Edge) -> float:
    return len(edge.label) * 6.3


def _spaced(edges: Sequence[int], step: float) -> dict[int, float]:
    return {edge: (index - (len(edges) - 1) / 2) * step for index, edge in enumerate(edges)}


def _ports(
    edges: list[int], ports: dict[int, float], towards: list[float], box: _Drawn, x: float
) -> dict[int, float]:
    """The same places, given to the edges in the order in which they lead left and right.

    An edge that goes straight keeps the middle where there is room for the others on its sides.
    """
    order = sorted(zip(towards, edges, strict=True))
    places = sorted(ports.values())
    straight = next((place for place, (to, _) in zip(places, order, strict=True) if abs(to - x) < 0.5), 0.0)
    moved = [place - straight for place in places]
    if all(abs(place) <= box.width / 2 - 8 for place in moved):
        places = moved
    return {edge: place for (_, edge), place in zip(order, places, strict=True)}


def _next_x(number: int, picture: Picture, x: list[float], routes: list[list[float]]) -> float:
    return routes[number][0] if routes[number] else x[picture.edges[number].target]


def _last_x(number: int, picture: Picture, x: list[float], routes: list[list[float]]) -> float:
    return routes[number][-1] if routes[number] else x[picture.edges[number].source]


def _top(box: _Drawn, top: float, height: float) -> float:
    """Boxes stand in the middle of their layer."""
    return top + (height - box.height) / 2


def _edge(
    start: float,
    from_y: float,
    end: float,
    to_y: float,
    stops: list[tuple[float, int]],
    row: int,
    tops: list[float],
    heights: list[float],
) -> str:
    """Straight down beside boxes and labels, and an S-curve in the space between the layers."""
    path = [f"M{start:.1f} {from_y:.1f}"]
    x = start
    for stop, layer in [*stops, (end, -1)]:
        bend_from = tops[row] + heights[row] + LABEL_ROOM
        bend_to = bend_from + BEND
        middle = (bend_from + bend_to) / 2
        path.append(
            f"V{bend_from:.1f} C{x:.1f} {middle:.1f} {stop:.1f} {middle:.1f} {stop:.1f} {bend_to:.1f}"
        )
        x, row = stop, layer
    path.append(f"V{to_y - 1.5:.1f}")
    style = 'fill="none" stroke="#64748b" stroke-width="1.3" marker-end="url(#arrow)"'
    return f'<path d="{" ".join(path)}" {style}/>'


def _label(edge: Edge, x: float, y: float) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="{MONO}" font-size="10.5" fill="#475569">'
        f"{markup(edge.label)}</text>"
    )


def _box(drawn: _Drawn, x: float, top: float) -> str:
    box = drawn.box
    fill, border, ink = COLOURS[box.kind]
    left = x - drawn.width / 2
    radius = drawn.height / 2 if box.kind in ("input", "output") else 7
    frame = f'width="{drawn.width:.1f}" height="{drawn.height:.1f}" rx="{radius:.1f}"'
    frame += f' fill="{fill}" stroke="{border}"'
    parts: list[str] = []
    if box.repeat > 1:
        # A repeated call looks like a stack of cards.
        parts += [
            f'<rect x="{left + d:.1f}" y="{top + d:.1f}" {frame} stroke-width="1"/>' for d in (2 * CARD, CARD)
        ]
    parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" {frame} stroke-width="1.2"/>')
    y = top + 20
    style = f'text-anchor="middle" fill="{ink}"'
    title = f'<tspan font-weight="600">{markup(box.title)}</tspan>'
    if box.repeat > 1:
        title += f'<tspan dx="8" font-weight="700" fill="{border}">×{box.repeat}</tspan>'
    parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style} font-family="{SANS}" font-size="13">{title}</text>')
    for text, font, shade in ((box.path, SANS, "0.8"), (box.detail, MONO, "0.65")):
        if text:
            y += 15
            parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" {style} font-family="{font}" font-size="11"'
                f' fill-opacity="{shade}">{markup(text)}</text>'
            )
    return "\n".join(parts)
