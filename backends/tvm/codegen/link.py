"""Object code as a shared library, by the C compiler of the system."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import BuildError
from ..runtime.host import architecture

_PATIENCE = 300


def linked(objects: Iterable[bytes], target_architecture: str) -> bytes:
    """The shared library of object files; raises `BuildError` without a C compiler that can link it."""
    command = compiler(target_architecture)
    with TemporaryDirectory(prefix="planform-") as folder:
        library, parts = Path(folder) / "kernels.so", list[str]()
        for number, code in enumerate(objects):
            part = Path(folder) / f"{number}.o"
            part.write_bytes(code)
            parts.append(str(part))
        # Kernels are called in the library itself; what TVM says of them for debuggers names no source.
        options = ["-shared", "-fPIC", "-Wl,-Bsymbolic", "-Wl,-S"]
        command = [*command, *options, "-o", str(library), *parts, "-lm"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError("E704", f"`{command[0]}` does not run: {error}") from None
        if done.returncode or not library.is_file():
            why = (done.stderr or done.stdout).strip().splitlines()
            raise BuildError("E704", f"`{command[0]}` does not link the kernels", *why[:8])
        return library.read_bytes()


def compiler(target_architecture: str) -> list[str]:
    """The command that compiles C for an architecture: `$CC`, or one that is on the path."""
    command = command_in("CC", "E704")
    if command:
        return command
    for name in _candidates(target_architecture):
        found = shutil.which(name)
        if found is not None:
            return [found]
    names = ", ".join(_candidates(target_architecture))
    help = "install one, or name it in the variable CC"
    raise BuildError("E704", f"there is no C compiler to link with: none of {names}", help)


def command_in(variable: str, code: str) -> list[str]:
    """The command that a variable of the environment names, [] if none; raises `BuildError` of that code."""
    named = os.environ.get(variable, "")
    try:
        return shlex.split(named)
    except ValueError as error:
        why = str(error).lower().rstrip(".")
        raise BuildError(code, f"the variable {variable} is no command, {named!r}: {why}") from None


def _candidates(target_architecture: str) -> Iterator[str]:
    if target_architecture == architecture():
        yield from ("cc", "gcc", "clang")
    yield from (f"{target_architecture}-linux-gnu-{name}" for name in ("gcc", "clang"))
