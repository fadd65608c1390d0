"""Builds, and the kernels in them, kept by what they are made of, so that the same is not compiled twice.

They are files in `$PLANFORM_CACHE`, or `planform` in `$XDG_CACHE_HOME` or `~/.cache`. A file appears whole or
not at all, so that several processes may build the same at once. They are code, and are run: only regular
files of the user's own, or the system's, count. What is at fault is built anew.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

from ....compiler.files import read_bytes, write

# What all builds together may take, and all kernels; the least recently used go first.
CAPACITY = 1 << 30

_DIGEST = 32


def folder(kind: str = "tvm") -> Path | None:
    """Where builds are kept, or `kernels`; None where there is no home."""
    named = os.environ.get("PLANFORM_CACHE")
    if named:
        return Path(named) / kind
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path("~/.cache").expanduser()) / "planform" / kind
    except RuntimeError:
        return None


@cache
def sources() -> str:
    """The digest of the code that makes kernels."""
    found = hashlib.sha256()
    root = Path(__file__).resolve().parents[3]
    for place in (root / "compiler", root / "backends" / "tvm"):
        for path in sorted(place.rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def found(key: str) -> Path | None:
    """The file of a key, if there is one; it counts as used now."""
    path = _path(key)
    if path is None or not _own(path):
        return None
    with suppress(OSError):
        os.utime(path)
    return path


def keep(key: str, content: bytes) -> None:
    """Store the file of a key; where that is not possible, nothing is stored."""
    path = _path(key)
    if path is not None and _written(path, content):
        _prune(path.parent, path)


def kernel(key: str) -> bytes | None:
    """The code of a kernel, if it is there and whole; it counts as used now."""
    path = _kernel(key)
    if path is None or not _own(path):
        return None
    try:
        content = read_bytes(path, CAPACITY)
    except OSError:
        return None
    digest, code = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(code).digest() != digest:
        return None
    with suppress(OSError):
        os.utime(path)
    return code


def keep_kernel(key: str, code: bytes) -> None:
    """Store the code of a kernel; where that is not possible, nothing is stored."""
    path = _kernel(key)
    if path is not None:
        _written(path, hashlib.sha256(code).digest() + code)


def prune_kernels() -> None:
    """Remove kernels that were not used for longest until the others are within `CAPACITY`."""
    place = folder("kernels")
    if place is not None:
        _prune(place)


def drop(key: str) -> None:
    """Remove the file of a key, which is damaged."""
    path = _path(key)
    if path is not None:
        with suppress(OSError):
            path.unlink()


def _path(key: str) -> Path | None:
    place = folder()
    return None if place is None else place / f"{key}.plank"


def _kernel(key: str) -> Path | None:
    place = folder("kernels")
    return None if place is None else place / f"{key}.o"


def _own(path: Path) -> bool:
    """Whether a path is a regular file that the user or the system owns."""
    try:
        about = path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(about.st_mode) and about.st_uid in (os.geteuid(), 0)


def _written(path: Path, content: bytes) -> bool:
    """Write an entry, in place of what is none; whether that was possible. It is checked when it is read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not _own(path):
            path.unlink()
        write(path, content, sync=False)
    except (OSError, ValueError):
        return False
    return True


def _prune(place: Path, newest: Path | None = None) -> None:
    """Remove the files that were not used for longest until the rest is within `CAPACITY`."""
    known: list[tuple[os.stat_result, Path]] = []
    with suppress(OSError):
        for path in place.iterdir():
            if path.suffix in (".plank", ".o"):
                with suppress(OSError):
                    known.append((path.lstat(), path))
    left = sum(about.st_size for about, _ in known)
    for about, path in sorted(known, key=lambda each: each[0].st_mtime):
        if left <= CAPACITY:
            break
        if path != newest:
            with suppress(OSError):
                path.unlink()
                left -= about.st_size
