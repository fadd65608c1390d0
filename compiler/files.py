"""Files as everything here reads and writes them: regular ones, bounded in size, whole or not at all.

Whatever goes wrong is an OSError with a reason in words: what a path leads to (a pipe, a device, a link to
itself), a name that no file can have, a file that is too large, a full disk. Nothing waits for a pipe.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from .errors import FileError

TEXT = 4 << 20
"""Bytes of a text that people write: a plan, a rename map, names of classes."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def opened(path: str | Path, most: int | None = None) -> Generator[BufferedReader]:
    """A regular file of at most so many bytes, to be read; raises OSError, or if no file can be named so."""
    handle = _handle(path, os.O_RDONLY)
    try:
        about = os.fstat(handle)
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(about.st_mode):
            kind = _KINDS.get(stat.S_IFMT(about.st_mode), "something else")
            raise FileError(errno.EINVAL, f"Is {kind}, not a file", str(path))
        if most is not None and about.st_size > most:
            raise _too_large(path, most)
        stream = os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
    with stream:
        yield stream


def read_bytes(path: str | Path, most: int | None = None) -> bytes:
    """The content of a file; raises OSError as `opened` does."""
    with opened(path, most) as stream:
        content = stream.read(-1 if most is None else most + 1)
    if (
        most is not None and len(content) > most
    ):  # it has grown, or is one of the system that says it has no size
        raise _too_large(path, most)
    return content


def read_text(path: str | Path, most: int = TEXT) -> str:
    """The text of a file with plain line breaks; raises OSError and UnicodeDecodeError."""
    return read_bytes(path, most).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def write(path: str | Path, content: bytes, sync: bool = True) -> None:
    """Replace a file's content in one step; raises OSError.

    When this returns, the content is on the disk, if `sync`. A link stays a link, and a file that was there
    keeps its permissions. A pipe with a reader, or a device, is written to as it is.
    """
    try:
        target = Path(path).resolve()
        mode = _mode(target)
    except (ValueError, RuntimeError) as error:
        raise _no_name(path, error) from None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if mode is not None and not stat.S_ISREG(mode):
        _write_into(path, target, content)
        return
    if mode is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    made = ""
    try:
        handle, made = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:80]}.", suffix=".new")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o666 & ~_mask() if mode is None else mode & 0o7777)
            if sync:
                os.fsync(stream.fileno())
        os.replace(made, target)
        if sync:
            _sync_folder(target.parent)
    except BaseException as error:
        if made:
            with suppress(OSError):
                os.unlink(made)
        if isinstance(error, OSError):
            # The caller knows nothing of the file in between.
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise


def _handle(path: str | Path, flags: int) -> int:
    try:
        # Opening a pipe would wait for the other end.
        return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise _no_name(path, error) from None


def _write_into(path: str | Path, target: Path, content: bytes) -> None:
    try:
        handle = _handle(target, os.O_WRONLY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise FileError(error.errno, "Nobody reads from this pipe", str(path)) from None
        raise
    with os.fdopen(handle, "wb") as stream:
        os.set_blocking(stream.fileno(), True)
        try:
            stream.write(content)
            stream.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def _mode(target: Path) -> int | None:
    try:
        return os.stat(target).st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    # So that the name is on the disk too; not all file systems can.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _mask() -> int:
    """The umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _too_large(path: str | Path, most: int) -> FileError:
    return FileError(errno.EFBIG, f"Is larger than {most} bytes", str(path))


def _no_name(path: str | Path, error: Exception) -> FileError:
    if isinstance(error, RuntimeError):  # what pathlib says of links that lead to themselves
        return FileError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return FileError(errno.EINVAL, "No file can have this name", str(path).replace("\0", "\\0"))
