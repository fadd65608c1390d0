"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace a file's content in one step; a link stays a link, and the file keeps its permissions."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """The same for bytes; what is not an ordinary file (`/dev/stdout`) is written to as it is."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    try:
        handle, made = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".new")
    except OSError as error:
        # The caller knows nothing of the file in between.
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(made, target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_mask())
        os.replace(made, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(made)
        raise


def _mask() -> int:
    """The umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
