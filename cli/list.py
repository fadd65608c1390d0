"""`planform list`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import FINE, Json, command, reason
from .terminal import paint, remark, say, say_json

# Declarations begin at the beginning of a line: the formatter sees to it.
_PLAN = re.compile(r"^plan\s+(\w+)", re.MULTILINE)
_ABOUT = re.compile(r"^about\b.*?(?=^[a-zA-Z#]|\Z)", re.MULTILINE | re.DOTALL)


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
    """Each plan of the atlas: its name, its file, its row of the atlas and its title, None where not said.

    Reads the heads of the files alone, since there are many.
    """
    from ..api.locate import EXAMPLES, examples

    for path in examples():
        shown = path.relative_to(EXAMPLES.parent).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError) as error:
            why = reason(error) if isinstance(error, OSError) else "it is not UTF-8 text"
            remark("warning", f"{shown} cannot be read: {why}")
            continue
        said = about(text)
        for name in _PLAN.findall(text):
            yield {"plan": name, "file": shown, "atlas": said.get("atlas"), "title": said.get("title")}


def about(text: str) -> dict[str, str]:
    """The plain texts of a file's `about`; empty where it cannot be parsed."""
    from ..dsl.diagnostics import PlanError
    from ..dsl.parser import parse
    from ..dsl.source import Source
    from ..dsl.syntax import About, String

    found = _ABOUT.search(text)
    if found is None:
        return {}
    try:
        items = parse(Source("about", f"planform 1\n{found[0]}\n")).items
    except PlanError:
        return {}
    fields = [field for item in items if isinstance(item, About) for field in item.fields]
    return {
        name: str(value.parts[0]) if value.parts else ""
        for name, value in fields
        if isinstance(value, String) and len(value.parts) < 2
    }


def _matches(plan: dict[str, Any], pattern: str) -> bool:
    return any(pattern.lower() in str(value).lower() for value in plan.values() if value)
