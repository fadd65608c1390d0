"""Builds kept by what they are made of, so that the same is not compiled twice.

They are files in `$PLANFORM_CACHE`, or `planform` in `$XDG_CACHE_HOME` or `~/.cache`. A file appears whole or
not at all, so that several processes may build the same at once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .files import write

# What all files together may take; the least recently used go first.
CAPACITY = 1 << 30


def folder() -> Path:
    """Where builds are kept."""
    named = os.environ.get("PLANFORM_CACHE")
    if named:
        return Path(named) / "tvm"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "planform" / "tvm"


def found(key: str) -> Path | None:
    """The file of a key, if there is one; it counts as used now."""
    path = _path(key)
    if not path.is_file():
        return None
    with suppress(OSError):
        os.utime(path)
    return path


def keep(key: str, content: bytes) -> None:
    """Store the file of a key; where that is not possible, nothing is stored."""
    path = _path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    except OSError:
        return
    _prune(path)


def drop(key: str) -> None:
    """Remove the file of a key, which is damaged."""
    with suppress(OSError):
        _path(key).unlink()


def _path(key: str) -> Path:
    return folder() / f"{key}.plank"


def _prune(newest: Path) -> None:
    """Remove files that were not used for longest until the rest is within `CAPACITY`."""
    with suppress(OSError):
        known = [(path.stat(), path) for path in newest.parent.glob("*.plank") if path != newest]
        left = sum(about.st_size for about, _ in known) + newest.stat().st_size
        for about, path in sorted(known, key=lambda each: each[0].st_mtime):
            if left <= CAPACITY:
                break
            path.unlink(missing_ok=True)
            left -= about.st_size
