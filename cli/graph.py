"""`planform graph`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .files import write
from .options import FINE, SCHEMA, Address, At, Json, Mode, Output, Set, command, open_model
from .terminal import coloured, say, say_json


@command
def graph(
    plan: Address,
    format: Annotated[
        Literal["text", "dot", "svg"],
        typer.Option("--format", "-f", help="A tree, graphviz source, or a picture."),
    ] = "text",
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth", min=0, help="Levels of block calls to open; by default all in text, 1 in pictures."
        ),
    ] = None,
    output: Output = None,
    at: At = None,
    set: Set = None,
    mode: Mode = "eval",
    json: Json = False,
) -> int:
    """Draw the structure of a plan, with repeats folded and shapes."""
    from ..compiler.drawing.draw import draw

    model = open_model(plan, at, set)
    found = model.graph_in(mode)
    if json:
        say_json({**_to_dict(found, 1 if depth is None else depth), "plan": model.name, "mode": mode})
        return FINE
    text = draw(found, format, depth)
    if output is not None and output != "-":
        write(Path(output), text)
    elif format == "text" and coloured(sys.stdout):
        from ..reports.cost import print_structure

        print_structure(text)
    else:
        say(text, end="")
    return FINE


def _to_dict(graph: Any, depth: int) -> dict[str, Any]:
    """The picture: boxes by number, and edges between them with the shapes that flow."""
    from ..compiler.drawing.draw import picture_of

    picture = picture_of(graph, depth)
    return {
        "planform_json": SCHEMA,
        "kind": "graph",
        "depth": depth,
        "boxes": [
            {
                "kind": box.kind,
                "title": box.title,
                "path": box.path,
                "detail": box.detail,
                "repeat": box.repeat,
            }
            for box in picture.boxes
        ],
        "edges": [
            {"source": edge.source, "target": edge.target, "types": [str(type) for type in edge.types]}
            for edge in picture.edges
        ],
    }
