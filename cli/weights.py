"""`planform weights`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .files import write_bytes
from .options import FINE, FOUND, SCHEMA, Address, At, Failure, Json, Set, command, open_model
from .terminal import complain, paint, remark, say, say_json

if TYPE_CHECKING:
    from ..api.model import Model
    from ..backends.torch.weights import BindReport, Renamings
    from ..compiler.graph.program import Program

app = typer.Typer(help="See the weights of a plan, and how a checkpoint fits it.", no_args_is_help=True)

Rename = Annotated[
    str | None,
    typer.Option(
        "--rename", metavar="MAP", help="Rules `old -> new`, one a line, for names of the checkpoint."
    ),
]


@app.callback()
def weights() -> None:
    """See the weights of a plan, and how a checkpoint fits it."""


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
    report, found = explained(model.program, Path(checkpoint), rename)
    if output is not None and report.ok:
        from safetensors.torch import save

        write_bytes(Path(output), save({name: value.contiguous() for name, value in report.tensors.items()}))
    if json:
        renamings = [{"old": rule.old, "new": rule.new} for rule in found.rules]
        say_json({"planform_json": SCHEMA, "kind": "weights", **report.to_dict(), "renamings": renamings})
    else:
        print_report(report, found)
    return FINE if report.ok else FOUND


@app.command("list")
@command
def list_weights(
    address: Annotated[
        str,
        typer.Argument(metavar="PLAN", help="As elsewhere; or a checkpoint, safetensors or a torch file."),
    ],
    keys: Annotated[
        bool, typer.Option("--keys", help="Paths and shapes alone, as claims on weights read them.")
    ] = False,
    at: At = None,
    set: Set = None,
    json: Json = False,
) -> int:
    """Print the weights of a plan or a checkpoint: path, shape, type, kind and initialiser."""
    rows = (
        _of_checkpoint(Path(address)) if _is_checkpoint(address) else _of_plan(open_model(address, at, set))
    )
    if json:
        say_json({"planform_json": SCHEMA, "kind": "weights", "weights": rows})
    elif keys:
        from ..compiler.weight_tables import line_of

        # What a state dict has.
        for row in rows:
            if row["persistent"] is not False:
                say(line_of(row["path"], tuple(row["shape"])))
    else:
        _say_table(rows)
    return FINE


def _is_checkpoint(address: str) -> bool:
    path = Path(address)
    return path.suffix != ".plan" and path.is_file()


def _of_plan(model: Model) -> list[dict[str, Any]]:
    from ..compiler.graph.graph import Graph

    return [
        {
            "path": path,
            "shape": list(weight.type.shape),
            "dtype": weight.type.dtype,
            "kind": weight.kind if weight.trainable or weight.kind == "buffer" else "frozen",
            "init": "computed" if isinstance(weight.init, Graph) else str(weight.init),
            "persistent": weight.persistent,
        }
        for path, weight in model.program.weights.items()
    ]


def _of_checkpoint(path: Path) -> list[dict[str, Any]]:
    from ..backends.torch.weights import CheckpointError, read_checkpoint

    try:
        tensors = read_checkpoint(path)
    except CheckpointError as error:
        raise Failure(str(error), exit=FOUND) from None
    blank = {"kind": None, "init": None, "persistent": None}
    return [
        {
            "path": name,
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            **blank,
        }
        for name, tensor in tensors.items()
    ]


def _say_table(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = [
        (row["path"], str(row["shape"]), row["dtype"], row["kind"] or "", row["init"] or "") for row in rows
    ]
    widths = [max((len(cells[at]) for cells in columns), default=0) for at in range(5)]
    for cells in columns:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())


def bound(program: Program, checkpoint: Path, rename: str | None) -> BindReport:
    """How the tensors of a file fit a program; raises `Failure`."""
    return explained(program, checkpoint, rename, suggest=False)[0]


def explained(
    program: Program, checkpoint: Path, rename: str | None, suggest: bool = True
) -> tuple[BindReport, Renamings]:
    """How the tensors of a file fit a program, and renamings that explain what does not; raises `Failure`."""
    from ..backends.torch.weights import (
        CheckpointError,
        RenameError,
        Renamings,
        read_checkpoint,
        read_rules,
        renamings,
    )
    from ..backends.torch.weights import bind as bind_weights

    try:
        rules = () if rename is None else read_rules(rename)
        tensors = read_checkpoint(checkpoint)
        report = bind_weights(program, tensors, rules)
        wanted = suggest and report.missing and report.extra
        return report, renamings(program, tensors, rules) if wanted else Renamings((), {})
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


def print_report(report: BindReport, found: Renamings) -> None:
    """The report as text: problems to stderr, the sum to stdout."""
    explained = replace(
        report,
        missing=tuple(path for path in report.missing if path not in found.paths),
        extra=tuple(name for name in report.extra if name not in found.names),
    )
    _complain_of(report if not found.rules else explained)
    if found.rules:
        rules = "".join(f"\n  {rule}" for rule in found.rules)
        message = f"{len(found.names)} names differ as these rules say, by shape, likeness and order:{rules}"
        remark("error", message, ["if they are right, write them into a file MAP and give --rename MAP"])
        complain("")
    state = paint("ok", "green") if report.ok else paint("not ok", "red")
    counts = [f"{len(report.tensors)} bound"]
    for name in ("missing", "extra", "misshapen", "mistyped", "dropped"):
        items = getattr(report, name)
        counts += [f"{len(items)} {name}"] if items else []
    say(f"{paint(report.plan, 'bold')}: {state} ({', '.join(counts)})")


def _complain_of(report: BindReport) -> None:
    misfits = _misfits(report)
    for misfit in misfits:
        remark("error", misfit)
    if misfits:
        complain("")


def _misfits(report: BindReport) -> list[str]:
    """What does not fit, in words."""
    return [
        *(f"missing: {path}" for path in report.missing),
        *(f"extra: {name}" for name in report.extra),
        *(str(misfit) for misfit in (*report.misshapen, *report.mistyped)),
    ]
