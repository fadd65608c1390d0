"""`planform memory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .files import write
from .options import FINE, Address, At, Failure, Json, Set, command, open_model
from .terminal import rendered, say, say_json


@command
def memory(
    plan: Address,
    at: At = None,
    set: Set = None,
    reorder: Annotated[
        bool, typer.Option("--reorder/--no-reorder", help="Look for a better order of the operators.")
    ] = True,
    in_place: Annotated[
        bool, typer.Option("--in-place/--no-in-place", help="Let results take the place of operands.")
    ] = True,
    inputs: Annotated[bool, typer.Option("--inputs", help="Plan the inputs too.")] = False,
    results: Annotated[bool, typer.Option("--results/--no-results", help="Plan the results too.")] = True,
    float_as: Annotated[
        Literal["f16", "bf16", "f32", "f64"], typer.Option("--float", help="What floats are, for bytes.")
    ] = "f32",
    top: Annotated[int, typer.Option("--top", min=0, help="How many tensors of the peak to show.")] = 10,
    svg: Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Draw the arena here.")] = None,
    json: Json = False,
) -> int:
    """Plan the memory that a call needs.

    Looks for an order of the operators, lets results take the place of operands, and gives each tensor an
    offset in one arena.

    All sizes of the inputs must be bound. Prints what a call needs, when it needs most, and for what.
    """
    from dataclasses import replace

    from ..compiler.cost.sizes import symbols_of
    from ..compiler.memory import BindingError, plan_memory

    model = open_model(plan, at, set)
    graph = model.graph_in("eval")
    try:
        found = plan_memory(
            graph, None, float_as, reorder=reorder, in_place=in_place, inputs=inputs, results=results
        )
    except BindingError as error:
        raise Failure(str(error), f"--at {','.join(f'{name}=...' for name in symbols_of(graph))}") from None
    found = replace(found, bindings=model.bindings)
    if svg is not None:
        from ..compiler.drawing.memory import to_svg

        write(Path(svg), to_svg(found))
    if json:
        say_json({**found.to_dict(), "plan": model.name})
        return FINE
    from ..reports.memory import memory_view

    say(rendered(memory_view(found, model.name, top)), end="")
    return FINE
