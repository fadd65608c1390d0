"""`planform compare`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..compiler.names import printable
from .deploy import lines_of
from .options import FINE, FOUND, SCHEMA, Address, At, Failure, Json, Set, command, open_model
from .progress import stages
from .run import prepared
from .terminal import paint, say, say_json
from .weights import Rename, fitting

if TYPE_CHECKING:
    from ..api.compare import Comparison, Difference

Backend = Literal["torch", "deploy", "tvm"]
_HELP = "torch runs the plan, deploy its optimised graph in torch, tvm the same graph as kernels."


@command
def compare(
    plan: Address,
    a: Annotated[Backend, typer.Option("--a", help=_HELP)] = "torch",
    b: Annotated[Backend, typer.Option("--b", help="What is held against it.")] = "tvm",
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", min=0, help="What may differ, as a part of the largest number of a value."
        ),
    ] = 1e-3,
    weights: Annotated[
        str | None,
        typer.Option("--weights", "-w", metavar="FILE", help="A checkpoint: safetensors, or a torch file."),
    ] = None,
    rename: Rename = None,
    input: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="IMAGE", help="An image; without one, the input is random."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**63 - 1, help="For random weights and inputs.")
    ] = 0,
    at: At = None,
    set: Set = None,
    json: Json = False,
) -> int:
    """Run a plan in two backends, and name the first labelled value that differs.

    Without --weights they are drawn so that differences show: no scale is zero, and statistics are those of
    the input.

    Exits with 1 if a result differs by more than the tolerance.
    """
    from ..api.compare import compare as compare_backends
    from ..api.compile import trained
    from ..backends.torch import LoweringError
    from ..backends.torch.telling import telling_weights

    model = open_model(plan, at, set)
    try:
        model, arrays = prepared(model, input, seed)
        program = model.eval_program
        tensors: Mapping[str, Any] = (
            telling_weights(program, list(arrays.values()), seed)
            if weights is None
            else fitting(program, Path(weights), rename, json, lambda: trained(model))
        )
        with stages(model.name, json) as tell:
            found = compare_backends(model, a, b, tensors, list(arrays.values()), tolerance, tell)
    except (LoweringError, ValueError) as error:
        raise Failure(str(error), exit=FOUND) from None
    if json:
        say_json(_to_dict(found, model.name, a, b, tolerance))
    else:
        _print(found, model.name, a, b)
    return FINE if found.ok else FOUND


def _print(found: Comparison, name: str, a: str, b: str) -> None:
    state = paint("the same", "green") if found.ok else paint("different", "red")
    say(f"{paint(name, 'bold')}: {a} and {b} are {state}")
    for each in found.results:
        say(f"  {each.name}: {_shown(each)}")
    if found.ok:
        return
    if found.first is None:
        say(f"no labelled value differs: {found.reason}")
        return
    say(f"the first value that differs is {paint(found.first.name, 'bold')}: {_shown(found.first)}")
    for line in lines_of(found.first.origins):
        say(f"  {paint(line.where, 'dim')}  {printable(line.text)}")


def _shown(each: Difference) -> str:
    return f"{each.error:.2e} of its largest number" if each.error == each.error else "not a number in one"


def _to_dict(found: Comparison, name: str, a: str, b: str, tolerance: float) -> dict[str, Any]:
    return {
        "planform_json": SCHEMA,
        "kind": "compare",
        "ok": found.ok,
        "plan": name,
        "a": a,
        "b": b,
        "tolerance": tolerance,
        "results": [_described(each) for each in found.results],
        "first": None if found.first is None else _described(found.first),
        "reason": found.reason,
    }


def _described(each: Difference) -> dict[str, Any]:
    return {
        "name": each.name,
        "error": each.error if each.error == each.error else None,
        "lines": [line._asdict() for line in lines_of(each.origins)],
    }
