"""`planform weights`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..terminal import complain, paint, remark, say, say_json
from .files import write_bytes
from .frame import FINE, FOUND, SCHEMA, Address, At, Failure, Json, Set, command, open_model

if TYPE_CHECKING:
    from ..backends.torch.weights import BindReport
    from ..compiler.program import Program

app = typer.Typer(help="See how a checkpoint fits a plan.", no_args_is_help=True)

Rename = Annotated[
    str | None,
    typer.Option(
        "--rename", metavar="MAP", help="Rules `old -> new`, one a line, for names of the checkpoint."
    ),
]


@app.callback()
def weights() -> None:
    """See how a checkpoint fits a plan."""


@app.command("bind")
@command
def bind(
    plan: Address,
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Safetensors, or a torch file.")],
    rename: Rename = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write what fits under the plan's names, as safetensors."
        ),
    ] = None,
    at: At = None,
    set: Set = None,
    json: Json = False,
) -> int:
    """Say which weights of a plan a checkpoint has, lacks, and has too many.

    Exits with 1 unless every weight has its tensor and every tensor its weight.
    """
    model = open_model(plan, at, set)
    report = bound(model.program, Path(checkpoint), rename)
    if output is not None and report.ok:
        from safetensors.torch import save

        write_bytes(Path(output), save({name: value.contiguous() for name, value in report.tensors.items()}))
    if json:
        say_json({"planform_json": SCHEMA, "kind": "weights", **report.to_dict()})
    else:
        print_report(report)
    return FINE if report.ok else FOUND


def bound(program: Program, checkpoint: Path, rename: str | None) -> BindReport:
    """How the tensors of a file fit a program; raises `Failure`."""
    from ..backends.torch.weights import CheckpointError, RenameError, read_checkpoint, read_rules
    from ..backends.torch.weights import bind as bind_weights

    try:
        rules = () if rename is None else read_rules(rename)
        return bind_weights(program, read_checkpoint(checkpoint), rules)
    except (CheckpointError, RenameError) as error:
        raise Failure(str(error), exit=FOUND) from None


def load(module: Any, program: Program, checkpoint: Path, rename: str | None, json: bool = False) -> None:
    """Fill a module from a checkpoint all of which must fit; raises `Failure` as `fitting` does."""
    module.load_state_dict(fitting(program, checkpoint, rename, json))


def fitting(
    program: Program,
    checkpoint: Path,
    rename: str | None,
    json: bool = False,
    others: Callable[[], Collection[str]] = tuple,
) -> Mapping[str, Any]:
    """The tensors of a checkpoint by the plan's paths, all of which must fit; raises `Failure`.

    `others` gives the paths of weights that may be there too, those of training. What does not fit goes to
    stderr, or into the help of the failure where the failure is JSON.
    """
    report = bound(program, checkpoint, rename)
    if report.extra:
        report = replace(report, extra=tuple(path for path in report.extra if path not in others()))
    if not report.ok:
        help = "`planform weights bind` shows all of it; --rename gives other names"
        misfits = _misfits(report) if json else []
        if not json:
            _complain_of(report)
        raise Failure(f"{checkpoint} does not fit {report.plan}", *misfits, help, exit=FOUND)
    return report.tensors


def print_report(report: BindReport) -> None:
    """The report as text: problems to stderr, the sum to stdout."""
    _complain_of(report)
    state = paint("ok", "green") if report.ok else paint("not ok", "red")
    counts = [f"{len(report.tensors)} bound"]
    for name in ("missing", "extra", "misshapen", "mistyped", "dropped"):
        found = getattr(report, name)
        counts += [f"{len(found)} {name}"] if found else []
    say(f"{paint(report.plan, 'bold')}: {state} ({', '.join(counts)})")


def _complain_of(report: BindReport) -> None:
    for misfit in _misfits(report):
        remark("error", misfit)
    if not report.ok:
        complain("")


def _misfits(report: BindReport) -> list[str]:
    """What does not fit, in words."""
    return [
        *(f"missing: {path}" for path in report.missing),
        *(f"extra: {name}" for name in report.extra),
        *(str(misfit) for misfit in (*report.misshapen, *report.mistyped)),
    ]
