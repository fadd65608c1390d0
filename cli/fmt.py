"""`planform fmt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .files import write
from .options import FINE, FOUND, SCHEMA, USAGE, Failure, Json, command, reason
from .terminal import complain_of, paint, remark, say, say_json


@command
def fmt(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Plan files.")],
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 where a file would change.")
    ] = False,
    json: Json = False,
) -> int:
    """Bring plan files into the canonical layout, in place."""
    from ..dsl.diagnostics import PlanError
    from ..dsl.render import to_json

    results: list[dict[str, Any]] = []
    diagnostics: list[Any] = []
    code = FINE
    for name in files:
        result: dict[str, Any] = {"file": name, "changed": False, "error": None}
        results.append(result)
        try:
            result["changed"] = _format(Path(name), check)
        except PlanError as error:
            code = max(code, FOUND)
            diagnostics += error.diagnostics
            result["error"] = str(error)
            if not json:
                complain_of(error.diagnostics)
        except Failure as failure:
            code = USAGE
            result["error"] = failure.message
            if not json:
                remark("error", failure.message, failure.help)
        if result["changed"]:
            code = max(code, FOUND) if check else code
            if not json:
                say(f"{paint(name, 'bold')} {'would be formatted' if check else 'formatted'}")
    if json:
        about = {"planform_json": SCHEMA, "kind": "fmt", "ok": code == FINE, "files": results}
        say_json({**about, "diagnostics": [to_json(found) for found in diagnostics]})
    return code


def _format(path: Path, check: bool) -> bool:
    """Format a file, unless only `check`ing; whether it was not in canonical layout."""
    from ..compiler.files import TEXT, read_bytes
    from ..dsl.format import format_source
    from ..dsl.loader import Loader

    try:
        source = Loader().read(path)
        before = read_bytes(path, TEXT)
    except UnicodeDecodeError as error:
        raise Failure(
            f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None
    except OSError as error:
        raise Failure(reason(error)) from None
    after = format_source(source)
    if after.encode("utf-8") == before:
        return False
    if not check:
        try:
            write(path, after)
        except OSError as error:
            raise Failure(reason(error)) from None
    return True
