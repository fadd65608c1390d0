"""Command lines and Python in processes of their own, forked from one that has everything imported already.

Exit codes, working folders, environments and streams are those of real processes; what is spared is the start of
Python and of torch, which is most of what a small command takes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

_PRELOADED = [
    *("planform.api.model", "planform.cli.app", "planform.backends.torch", "planform.compiler.cost"),
    *("planform.compiler.drawing.draw", "planform.dsl.claims", "planform.dsl.format", "planform.dsl.render"),
]


@cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _command(arguments: list[str]) -> int:
    from planform.__main__ import main

    return main(arguments)


def _python(code: str) -> int:
    sys.argv = ["-c"]
    sys.path.insert(0, "")
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _child(
    run: Callable[[Any], int], what: Any, cwd: Path, environment: Mapping[str, str], out: str, err: str
) -> None:
    """Become the process that is asked for."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    # Open as long as the process is.
    sys.stdout, sys.stderr = (
        open(number, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        for number in (1, 2)
    )
    sys.exit(run(what))


def _forked(
    run: Callable[[Any], int], what: Any, cwd: Path, environment: Mapping[str, str], seconds: float
) -> CompletedProcess[str]:
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        process = _context().Process(
            target=_child, args=(run, what, cwd, dict(environment), out.name, err.name)
        )
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{what} took more than {seconds} s")
        text = [Path(file.name).read_text(encoding="utf-8") for file in (out, err)]
    return CompletedProcess(what, process.exitcode, *text)


def planform(
    *arguments: str, cwd: Path, environment: Mapping[str, str] = os.environ, seconds: float = 120
) -> CompletedProcess[str]:
    """`planform ARGUMENTS`, typed in a folder."""
    return _forked(_command, list(arguments), cwd, environment, seconds)


def python(
    code: str, *, cwd: Path, environment: Mapping[str, str] = os.environ, seconds: float = 300
) -> CompletedProcess[str]:
    """`python -c CODE`, typed in a folder."""
    return _forked(_python, code, cwd, environment, seconds)
