"""`planform explain`."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from .options import FINE, SCHEMA, Failure, Json, command
from .terminal import paint, say, say_json

_LINES = 20


@command
def explain(
    code: Annotated[str, typer.Argument(help="A code such as E301.")],
    json: Json = False,
) -> int:
    """Explain the code of a diagnostic, with an example."""
    from ..dsl.codes import CODES
    from ..dsl.suggest import did_you_mean

    wanted = code.upper().strip("[]")
    if wanted not in CODES:
        raise Failure(f"no diagnostic has the code {code}", *did_you_mean(wanted, CODES))
    entry = CODES[wanted]
    if json:
        about = {"planform_json": SCHEMA, "kind": "explain", "code": wanted, "message": entry.message}
        say_json({**about, "explanation": entry.explanation, "bad": list(entry.bad)})
        return FINE
    message = summary(entry.message)
    say(paint(wanted, "red") + (f": {paint(message, 'bold')}" if message else ""))
    say()
    say(entry.explanation)
    if entry.bad:
        say("\nFor example:\n")
        say(indented(entry.bad[0]))
        found = example(wanted)
        if found is not None:
            say("\ngives\n")
            say(indented(found))
    return FINE


def summary(template: str) -> str:
    """A message's template for people; empty where the message says nothing without its fields."""
    words = re.sub(r"(?<!{){\w+}(?!})", "", template)
    return template.replace("{{", "{").replace("}}", "}") if re.search(r"\w", words) else ""


def indented(text: str) -> str:
    """The text, indented for people; what is long is clipped."""
    lines = text.rstrip("\n").split("\n")
    shown = [line if len(line) <= 120 else f"{line[:117]}..." for line in lines[:_LINES]]
    return "\n".join(f"    {line}".rstrip() for line in [*shown, *(["..."] if len(lines) > _LINES else [])])


def example(code: str) -> str | None:
    """The diagnostic that the first bad input of a code causes, as text; None where there is none."""
    from ..api.plan_file import PlanFile
    from ..dsl.codes import CODES
    from ..dsl.diagnostics import PlanError
    from ..dsl.render import render
    from ..dsl.source import Source

    entry = CODES[code]
    if not entry.bad:
        return None
    # A folder of its own: what the text imports is looked for beside it.
    with TemporaryDirectory() as folder:
        for name, text in (("net.plan", entry.bad[0]), *entry.beside):
            (Path(folder) / name).write_text(text, encoding="utf-8")
        path = Path(folder) / "net.plan"
        try:
            found = PlanFile(path, Source(path.name, entry.bad[0], str(path))).check(entry.ask).diagnostics
        except PlanError as error:
            found = error.diagnostics
    shown = next((render(diagnostic) for diagnostic in found if diagnostic.code == code), None)
    return None if shown is None else re.sub(rf"[^\s\"`]*{re.escape(Path(folder).name)}/", "", shown)
