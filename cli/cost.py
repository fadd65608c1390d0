"""`planform cost`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .options import FINE, Address, At, Failure, Json, Mode, Set, command, device_of, open_model
from .terminal import rendered, say, say_json


@command
def cost(
    plan: Address,
    at: At = None,
    set: Set = None,
    depth: Annotated[
        int | None,
        typer.Option("--depth", min=1, help="Levels of the table; by default 2 of scopes, all of others."),
    ] = None,
    by: Annotated[
        Literal["op", "scope", "block"], typer.Option("--by", help="Sum by operator, label path or block.")
    ] = "scope",
    mode: Mode = "eval",
    float_as: Annotated[
        Literal["f16", "bf16", "f32", "f64"], typer.Option("--float", help="What floats are, for bytes.")
    ] = "f32",
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="Also the least time on a device."),
    ] = None,
    json: Json = False,
) -> int:
    """Print what a plan costs.

    Parameters, multiply-adds, other operations, activations and bytes, for each part and in sum.

    Sizes that are not bound stay symbols, and the figures are formulas in them.
    """
    from ..compiler.cost import BindingError

    model = open_model(plan, at, set)
    try:
        report = model.cost(mode, float_as)
        floor = device and report.seconds_on(device_of(device))
    except BindingError as error:
        raise Failure(str(error)) from None
    if depth is None and by == "scope":
        depth = 2
    if json:
        times = {"device": device, "seconds": floor[0], "seconds_of_memory": floor[1]} if floor else {}
        say_json(report.to_dict(by, depth) | times)
        return FINE
    from ..reports.cost import cost_view

    say(rendered(cost_view(report, by, depth)), end="")
    if floor:
        whole, waiting = (f"{1000 * seconds:.3g} ms" for seconds in floor)
        say(f"\nat least {whole} on {device}, operator by operator; {waiting} of it wait for memory")
    return FINE
