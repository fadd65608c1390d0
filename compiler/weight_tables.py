"""Files that say which weights a network has: a text of paths, or the head of a safetensors file."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from .errors import PlanformError

# Far beyond any network's table; a file is untrusted, and read whole.
MOST_BYTES = 16 << 20
_LINE = re.compile(r"(?P<path>[^\s\[]+)(?:\s+(?P<shape>\[[0-9,\s]*\]))?")

Table = Mapping[str, tuple[int, ...] | None]


class TableError(PlanformError, ValueError):
    """A file that holds no table of weights; the message says why."""


def read_table(path: Path) -> Table:
    """Weight paths of a file in its order, each with its shape or None where it says none.

    A text has one path a line, `conv1.weight [64, 3, 7, 7]` or the path alone, and `#` comments. Of a
    safetensors file the head is read. Raises `TableError` and OSError.
    """
    # Without waiting: opening a fifo would.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TableError("it is not a file of text")
        if path.suffix == ".safetensors":
            size = int.from_bytes(stream.read(8), "little")
            content = stream.read(size) if size <= MOST_BYTES else b""
            if not content or len(content) != size:
                raise TableError("it is not a safetensors file")
            return _from_head(content)
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise TableError(f"it is larger than {MOST_BYTES} bytes")
    try:
        return _from_text(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise TableError("it is not text") from None


def _from_text(text: str) -> Table:
    found: dict[str, tuple[int, ...] | None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        parts = _LINE.fullmatch(content)
        if parts is None:
            raise TableError(f"line {number} is not of the form `path` or `path [64, 3]`")
        if parts["path"] in found:
            raise TableError(f"line {number} names `{parts['path']}` again")
        sizes = None if parts["shape"] is None else re.findall(r"[0-9]+", parts["shape"])
        if sizes is not None and any(len(size) > 18 for size in sizes):
            raise TableError(f"line {number} has a size that is too large")
        found[parts["path"]] = None if sizes is None else tuple(map(int, sizes))
    return found


def _from_head(content: bytes) -> Table:
    try:
        head: Any = json.loads(content)
        entries = cast("dict[str, Any]", head)
        return {
            name: tuple(int(size) for size in entry["shape"])
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise TableError("it is not a safetensors file") from None


def line_of(path: str, shape: tuple[int, ...]) -> str:
    """A weight as a line of a text that `read_table` reads."""
    return f"{path} [{', '.join(map(str, shape))}]"
