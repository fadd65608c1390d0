"""`planform check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..compiler.names import printable
from .options import FINE, FOUND, SCHEMA, USAGE, Failure, Json, command, open_file
from .terminal import complain_of, paint, remark, say, say_json

if TYPE_CHECKING:
    from ..api.plan_file import CheckReport
    from ..dsl.guards import Need


@dataclass(frozen=True)
class Checked:
    """What came of one address: a report, or why the file could not be read."""

    address: str
    file: str
    plans: tuple[str, ...]
    report: CheckReport | None
    failure: Failure | None = None


@command
def check(
    files: Annotated[
        list[str], typer.Argument(metavar="PLAN...", help="Files, FILE:PLAN, or names of plans.")
    ],
    json: Json = False,
) -> int:
    """Check plans and their claims.

    Shapes and weights of every plan are checked in both modes. Each claim is printed with the figure that was
    derived for it.
    """
    found: list[Checked] = []
    for address in files:
        checked = _check(address)
        found.append(checked)
        if not json:
            _print(checked)
    if json:
        say_json(_to_dict(found))
    elif len(found) > 1:
        good = sum(each.report is not None and each.report.ok for each in found)
        say(f"{good} of {len(found)} are fine")
    if any(each.failure for each in found):
        return USAGE
    return FINE if all(each.report and each.report.ok for each in found) else FOUND


def _check(address: str) -> Checked:
    from ..api.plan_file import CheckReport
    from ..dsl.diagnostics import PlanError

    try:
        file, only = open_file(address)
        report = file.check(only)
        plans = (only,) if only else file.plans
        return Checked(address, file.source.name, plans, report)
    except PlanError as error:
        return Checked(address, address, (), CheckReport(error.diagnostics, ()))
    except Failure as failure:
        return Checked(address, address, (), None, failure)


def _print(checked: Checked) -> None:
    if checked.failure is not None or checked.report is None:
        if checked.failure is not None:
            remark("error", checked.failure.message, checked.failure.help)
        return
    report = checked.report
    complain_of(report.diagnostics)
    plans, claims = len(checked.plans), len(report.claims)
    total = f"{plans} plan{'s' * (plans != 1)}, {claims} claim{'s' * (claims != 1)}"
    state = paint("ok", "green") if report.ok else paint("not ok", "red")
    say(f"{paint(checked.file, 'bold')}: {state} ({total})")
    width = max((len(printable(claim.text)) for claim in report.claims), default=0)
    for claim in report.claims:
        mark = paint("✓", "green") if claim.ok else paint("✗", "red")
        kind, text = claim.claim.kind, printable(claim.text).removeprefix(claim.claim.kind).strip()
        say(f"  {mark} {text:<{width - len(kind)}} {paint(figure(claim.got), 'cyan')}".rstrip())
    _print_needs(report.needs, checked.plans)


def _print_needs(needs: Sequence[Need], plans: Sequence[str]) -> None:
    """What is left for run time: once for all plans that ask it, those of one reason together."""
    asking: dict[tuple[str, str], list[Need]] = {}
    for need in needs:
        asking.setdefault((str(need.guard), ",".join(need.modes)), []).append(need)
    alike: dict[tuple[str, str, tuple[str, ...]], list[Need]] = {}
    for found in asking.values():
        need = found[0]
        names = tuple(dict.fromkeys(each.plan for each in found))
        alike.setdefault((need.guard.message, ",".join(need.modes), names), []).append(need)
    for number, ((message, modes, names), found) in enumerate(alike.items()):
        if number == _MOST_NEEDS:
            say(f"  ... and {len(alike) - number} more; --json lists all")
            break
        guards = [str(need.guard) for need in found]
        # Of many the last is that of the deepest stage, and the narrowest.
        text = (
            " and ".join(guards) if len(guards) <= 2 else f"{guards[-1]} and {len(guards) - 1} more like it"
        )
        who = "needs" if set(names) >= set(plans) else f"{_some(names)} need{'s' * (len(names) == 1)}"
        when = {"train": " to train", "eval": " in eval"}.get(modes, "")
        site = found[-1].place
        where = f", {site.span.source.name}:{site.line}" if site else ""
        say(f"  {who} {text}{when} {paint(f'({message}{where})', 'dim')}")


_MOST_NEEDS = 12


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more plans"


def figure(value: Any) -> str:
    """A derived figure as it would be written in a plan."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:_}" if isinstance(value, int) else f"{value}"


def _to_dict(found: list[Checked]) -> dict[str, Any]:
    reports = [each.report.to_dict() for each in found if each.report]
    failures = [each for each in found if each.failure]
    document: dict[str, Any] = {
        "planform_json": SCHEMA,
        "kind": "check",
        "ok": not failures and all(report["ok"] for report in reports),
        "files": [
            {
                "file": each.file,
                "plans": list(each.plans),
                "ok": each.report is not None and each.report.ok,
                "error": each.failure.message if each.failure else None,
            }
            for each in found
        ],
        "diagnostics": [item for report in reports for item in report["diagnostics"]],
        "claims": [item for report in reports for item in report["claims"]],
        "needs": [item for report in reports for item in report["needs"]],
    }
    return document
