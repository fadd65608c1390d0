"""`planform list`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..terminal import paint, remark, say, say_json
from .frame import FINE, Json, command, reason


@command
def list_plans(
    pattern: Annotated[
        str | None, typer.Argument(help="Only plans with this in their name, file, atlas row or title.")
    ] = None,
    json: Json = False,
) -> int:
    """List the plans that come with planform."""
    found = [plan for plan in plans() if pattern is None or _matches(plan, pattern)]
    if json:
        say_json(found)
        return FINE
    width = max((len(plan["plan"]) for plan in found), default=0)
    above = None
    for plan in found:
        if plan["file"] != above:
            if above is not None:
                say()
            row = f" ({plan['atlas']})" if plan["atlas"] else ""
            say(f"{paint(plan['title'] or Path(plan['file']).stem, 'bold')}{row}")
            say(f"  {paint(plan['file'], 'dim')}")
            above = plan["file"]
        say(f"  {plan['plan']:<{width}}".rstrip())
    if not found:
        say("no plan fits" if pattern else "the atlas is empty")
    return FINE


def plans() -> Iterator[dict[str, Any]]:
    """Each plan of the atlas: its name, its file, its row of the atlas and its title, None where not said."""
    from ..api import EXAMPLES, examples
    from ..dsl.diagnostics import PlanError
    from ..dsl.loader import Loader
    from ..dsl.syntax import About, Plan, String

    loader = Loader()
    for path in examples():
        shown = path.relative_to(EXAMPLES.parent).as_posix()
        try:
            items = loader.parsed(loader.read(path)).items
        except (PlanError, UnicodeDecodeError, OSError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            remark("warning", f"{shown} cannot be read: {why}")
            continue
        about = {
            name: value.parts[0] if value.parts else ""
            for item in items
            if isinstance(item, About)
            for name, value in item.fields
            if isinstance(value, String) and len(value.parts) < 2
        }
        for item in items:
            if isinstance(item, Plan):
                name = item.target.name
                yield {"plan": name, "file": shown, "atlas": about.get("atlas"), "title": about.get("title")}


def _matches(plan: dict[str, Any], pattern: str) -> bool:
    return any(pattern.lower() in str(value).lower() for value in plan.values() if value)
