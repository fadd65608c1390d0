"""Builds, and the kernels in them, kept by what they are made of, so that the same is not compiled twice.

They are files in `$PLANFORM_CACHE`, or `planform` in `$XDG_CACHE_HOME` or `~/.cache`. A file appears whole or
not at all, so that several processes may build the same at once.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from ...compiler.files import read_bytes, write

# What all builds together may take, and all kernels; the least recently used go first.
CAPACITY = 1 << 30

_DIGEST = 32


def folder(kind: str = "tvm") -> Path:
    """Where builds are kept, or `kernels`."""
    named = os.environ.get("PLANFORM_CACHE")
    if named:
        return Path(named) / kind
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "planform" / kind


@cache
def sources() -> str:
    """The digest of the code that makes kernels."""
    found = hashlib.sha256()
    root = Path(__file__).resolve().parents[2]
    for place in (root / "compiler", root / "backends" / "tvm"):
        for path in sorted(place.rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


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
    _prune(path.parent, path)


def kernel(key: str) -> bytes | None:
    """The code of a kernel, if it is there and whole; it counts as used now."""
    path = _kernel(key)
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
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, hashlib.sha256(code).digest() + code)


def prune_kernels() -> None:
    """Remove kernels that were not used for longest until the others are within `CAPACITY`."""
    _prune(folder("kernels"))


def drop(key: str) -> None:
    """Remove the file of a key, which is damaged."""
    with suppress(OSError):
        _path(key).unlink()


def _path(key: str) -> Path:
    return folder() / f"{key}.plank"


def _kernel(key: str) -> Path:
    return folder("kernels") / f"{key}.o"


def _prune(place: Path, newest: Path | None = None) -> None:
    """Remove the files that were not used for longest until the rest is within `CAPACITY`."""
    with suppress(OSError):
        known = [(path.stat(), path) for path in place.iterdir() if path.suffix in (".plank", ".o")]
        left = sum(about.st_size for about, _ in known)
        for about, path in sorted(known, key=lambda each: each[0].st_mtime):
            if left <= CAPACITY:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                left -= about.st_size
