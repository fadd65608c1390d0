"""Files and their imports: reading, parsing once, and holding `use` inside the project and the library."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from . import syntax
from .diagnostics import fail
from .parser import parse
from .source import Source
from .suggest import did_you_mean

_MARKERS = ("pyproject.toml", ".git", ".planform")
_MAX_BYTES = 4 << 20


def project_root(path: Path) -> Path:
    """The folder that `use` may not leave: the nearest one above with a project marker, else the file's
    own.
    """
    for folder in path.resolve().parents:
        if any((folder / marker).exists() for marker in _MARKERS):
            return folder
    return path.resolve().parent


class Loader:
    """Parses each file once; knows the standard library's files."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self.files: dict[str, syntax.File] = {}

    def read(self, path: Path) -> Source:
        """The source of a file of the user's; raises OSError and UnicodeDecodeError."""
        if path.stat().st_size > _MAX_BYTES:
            raise OSError(f"{path} is larger than {_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        shown = os.path.relpath(path)
        return Source(str(path) if shown.startswith("..") else shown, text, str(path.resolve()))

    def parsed(self, source: Source) -> syntax.File:
        """The syntax tree of a source; parsed once for each path."""
        key = source.path or f"<{id(source)}>"
        known = self.files.get(key)
        if known is None:
            known = self.files[key] = parse(source)
        return known

    def imported(self, use: syntax.Use, within: Source) -> list[syntax.File]:
        """The files that a `use` may find its names in; raises `PlanError`."""
        if use.path is None:
            if use.library != "std":
                raise fail("E108", use.span, name=use.library, help=did_you_mean(use.library or "", ["std"]))
            return library()
        if within.path is None or within.origin == "std":
            raise fail("E105", use.span, path=use.path)
        here = Path(within.path).parent
        target = Path(os.path.normpath(here / use.path))
        root = self.root or project_root(Path(within.path))
        resolved = target.resolve()
        if (
            Path(use.path).is_absolute()
            or not resolved.is_relative_to(root.resolve())
            or target.suffix != ".plan"
        ):
            raise fail("E105", use.span, path=use.path)
        if not resolved.is_file():
            near = [p.name for p in target.parent.glob("*.plan")] if target.parent.is_dir() else []
            raise fail("E104", use.span, path=use.path, help=did_you_mean(target.name, near))
        try:
            return [self.parsed(self.read(resolved))]
        except (OSError, UnicodeDecodeError) as error:
            raise fail("E104", use.span, str(error), path=use.path) from None


_library: list[syntax.File] | None = None


def library() -> list[syntax.File]:
    """The files of the standard library, parsed once a process."""
    global _library
    if _library is None:
        folder = resources.files(__package__ or __name__).joinpath("std")
        found: list[syntax.File] = []
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".plan"):
                source = Source(
                    f"std/{entry.name}", entry.read_text(encoding="utf-8"), f"std:{entry.name}", "std"
                )
                found.append(parse(source))
        _library = found
    return _library
