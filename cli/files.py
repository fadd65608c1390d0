"""What commands write into files."""

from __future__ import annotations

from pathlib import Path

from ..compiler.files import write as write_bytes


def write(path: Path, text: str) -> None:
    """Replace a file's content by a text, as `compiler.files.write` does."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


__all__ = ["write", "write_bytes"]
