"""Claims on weight paths: `claim net: weights == "net.keys"`, held against a file beside the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..compiler.graph.graph import Weight
from ..compiler.weight_tables import Table, TableError, read_table
from . import syntax
from .diagnostics import Diagnostic, diagnostic, fail
from .loader import project_root

SUFFIXES = (".keys", ".txt", ".safetensors")
_SHOWN = 8
# Counts batches; checkpoints from before torch 0.4.1 lack it.
_COUNTER = "num_batches_tracked"


def claimed_table(claim: syntax.Claim, name: str) -> Table:
    """The table of the file that a claim names, which stands in the plan's project; raises `PlanError`."""
    source = claim.span.source
    if source.path is None or source.origin != "file":
        raise fail(
            "E606", claim.value.span, file=name, reason="the plan is not in a file that it could be beside"
        )
    target = Path(source.path).parent / name
    root = project_root(Path(source.path)).resolve()
    try:
        resolved = target.resolve()
        if Path(name).is_absolute() or not resolved.is_relative_to(root):
            raise TableError("it is not in the plan's project")
        if resolved.suffix not in SUFFIXES:
            raise TableError(f"it is none of {', '.join(SUFFIXES)}")
        return read_table(resolved)
    except (TableError, ValueError, RuntimeError) as error:
        raise fail("E606", claim.value.span, file=name, reason=str(error)) from None
    except OSError as error:
        raise fail(
            "E606", claim.value.span, file=name, reason=(error.strerror or str(error)).lower()
        ) from None


def misfit(claim: syntax.Claim, name: str, wanted: Table, weights: Mapping[str, Weight]) -> Diagnostic | None:
    """Why the weights that a state dict holds are not those of the table; None if they are."""
    own = {path: weight.type.shape for path, weight in weights.items() if weight.persistent}
    missing = [path for path in wanted if path not in own]
    extra = [path for path in own if path not in wanted and path.rpartition(".")[2] != _COUNTER]
    misshapen = [
        f"`{path}` is {list(own[path])}, and {list(shape)} there"
        for path, shape in wanted.items()
        if shape is not None and path in own and tuple(own[path]) != shape
    ]
    if not (missing or extra or misshapen):
        return None
    parts = {"lacking": missing, "not there": extra, "of another shape": misshapen}
    notes = [
        *_listed("the plan lacks", [f"`{path}`" for path in missing]),
        *_listed("the file lacks", [f"`{path}`" for path in extra]),
        *_listed("", misshapen),
    ]
    return diagnostic(
        "E605",
        claim.value.span,
        subject=claim.subject.name,
        file=name,
        what=", ".join(f"{len(items)} {what}" for what, items in parts.items() if items),
        notes=notes,
        help=["`planform weights list` prints the plan's, `planform weights bind` proposes renamings"],
    )


def _listed(what: str, items: list[str]) -> list[str]:
    shown = [f"{what} {item}".strip() for item in items[:_SHOWN]]
    return [*shown, f"{what} {len(items) - _SHOWN} more".strip()] if len(items) > _SHOWN else shown
