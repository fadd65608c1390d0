"""A compiled plan as one file: a manifest, the library of kernels, and the weights.

The file is a zip without compression, whose members begin at multiples of 64 bytes, so that weights are read
where they lie. The manifest holds the SHA-256 of the library and the weights, and a member of its own that of
the manifest, in the form of `sha256sum`; all are checked before they are used. They say that a file is whole,
and nothing of who made it: an artifact is code, and is run.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ....compiler.files import opened
from ..errors import ArtifactError
from ..target import is_gpu
from . import host, schema, tensorfile
from .cuda_driver import check_device
from .program import Program
from .verify_program import signature, verify

FORMAT = 3
MANIFEST, LIBRARY, WEIGHTS = "manifest.json", "kernels.so", "weights.safetensors"
DIGEST = f"{MANIFEST}.sha256"
_KIND = "planform artifact"
_ALIGNMENT = 64
# The date of all members: the same content gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Artifact:
    """What a file holds. `library` is the shared library, `weights` are arrays by path.

    `manifest` has `format`, `kind`, `versions` (of planform and TVM), `target` (TVM's description),
    `architecture`, `features` (that the processor must have, in LLVM's words), `dtype`, `about` (what the
    plan's file says of itself), `members` (with their SHA-256) and `program`.
    """

    manifest: Mapping[str, Any]
    program: Program
    library: bytes
    weights: Mapping[str, np.ndarray]

    def to_bytes(self) -> bytes:
        """The content of the file."""
        members = {LIBRARY: self.library, WEIGHTS: tensorfile.to_bytes(self.weights)}
        manifest = {
            **self.manifest,
            "kind": _KIND,
            "format": FORMAT,
            "members": {name: _digest(content) for name, content in members.items()},
            "program": self.program.to_dict(),
        }
        text = json.dumps(manifest, ensure_ascii=False, default=_number).encode("utf-8")
        return _zipped({MANIFEST: text, DIGEST: _digest_line(text), **members})


def read(path: Path, here: bool = True) -> Artifact:
    """The content of a file; its weights are mapped, not copied. With `here` it must be for this processor.

    Raises OSError, and `ArtifactError` for what is no artifact, is damaged, is of a newer format, or is for
    another processor.
    """
    with opened(path) as stream:
        try:
            content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:  # there is nothing in it
            raise _foreign(path) from None
        try:
            with zipfile.ZipFile(stream) as archive:
                return _read(path, archive, content, here)
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ):
            # A file that begins like a zip has lost its end, where its table of contents is, or has others.
            if content[:4] == b"PK\x03\x04":
                raise _damaged(path, "its members cannot be read") from None
            raise _foreign(path) from None


def _read(path: Path, archive: zipfile.ZipFile, content: memoryview, here: bool) -> Artifact:
    if MANIFEST not in archive.namelist():
        raise _foreign(path)
    text = bytes(_member(path, archive, MANIFEST, content))
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path, f"{MANIFEST} is no JSON") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise _foreign(path)
    version = manifest.get("format")
    if not isinstance(version, int) or version > FORMAT:
        versions = manifest.get("versions")
        made = cast("dict[str, Any]", versions).get("planform") if isinstance(versions, dict) else None
        help = f"it was made by planform {made}: use that, or a newer one"
        raise ArtifactError("E708", f"{path} has format {version}, newer than {FORMAT}, which is known", help)
    if version < FORMAT:
        raise ArtifactError("E706", f"{path} has format {version}, of an older version", "compile it again")
    try:
        if here:
            check_processor(str(path), manifest)
        if DIGEST not in archive.namelist() or _member(path, archive, DIGEST, content) != _digest_line(text):
            raise _damaged(path, f"{MANIFEST} is not what {DIGEST} says")
        schema.check(manifest)
        program = Program.from_dict(manifest["program"])
        verify(program)
        members: dict[str, memoryview] = {}
        for name, digest in manifest["members"].items():
            if name not in archive.namelist():
                raise _damaged(path, f"{name} is missing")
            members[name] = _member(path, archive, name, content)
            if _digest(members[name]) != digest:
                raise _damaged(path, f"{name} is not what the manifest says")
        weights = tensorfile.from_bytes(members[WEIGHTS])
        library = bytes(members[LIBRARY])
        if library and not is_gpu(manifest["target"]) and mark(program).encode() not in library:
            raise _damaged(path, f"{LIBRARY} was made for another program than the manifest's")
        return Artifact(manifest, program, library, weights)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"it does not hold what an artifact holds ({error})") from None


def mark(program: Program) -> str:
    """The name of a function of a library that says which program the library is for."""
    return f"for_{signature(program)}"


def check_processor(name: str, manifest: Mapping[str, Any]) -> None:
    """Raise `ArtifactError` unless the kernels are for this processor, or for a GPU that there is."""
    if is_gpu(manifest.get("target")):
        check_device(name, str(manifest["architecture"]))
        return
    made, here = manifest.get("architecture"), host.architecture()
    if made != here:
        raise ArtifactError("E707", f"{name} is for {made}, and this is {here}")
    has = host.features()
    lacks = sorted(set(manifest.get("features", ())) - has) if has is not None else []
    if lacks:
        help = "compile it on this machine, or with --target for its processor"
        raise ArtifactError("E707", f"{name} needs a processor with {', '.join(lacks)}", help)


def _member(path: Path, archive: zipfile.ZipFile, name: str, content: memoryview) -> memoryview:
    """A member's bytes where they lie, after a header of 30 bytes, its name and space to the boundary."""
    info = archive.getinfo(name)
    at = info.header_offset
    if info.compress_type != zipfile.ZIP_STORED or content[at : at + 4] != b"PK\x03\x04":
        raise _damaged(path, f"{name} is not where the table of contents says")
    lengths = struct.unpack_from("<HH", content, at + 26)
    start = at + 30 + sum(lengths)
    if start + info.file_size > len(content):
        raise _damaged(path, f"{name} ends early")
    return content[start : start + info.file_size]


def _zipped(members: Mapping[str, bytes]) -> bytes:
    from io import BytesIO

    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o644 << 16
            # An extra field of two numbers and what is left to the boundary.
            space = -(stream.tell() + 30 + len(name.encode()) + 4) % _ALIGNMENT
            info.extra = struct.pack("<HH", 0xD935, space) + bytes(space)
            archive.writestr(info, content)
    return stream.getvalue()


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_line(manifest: bytes) -> bytes:
    return f"{_digest(manifest)}  {MANIFEST}\n".encode()


def _number(value: Any) -> Any:
    """Numbers of numpy as JSON."""
    return value.item()


def _foreign(path: Path) -> ArtifactError:
    return ArtifactError(
        "E705", f"{path} is no artifact of planform", "`planform compile --to tvm` makes them"
    )


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError("E706", f"{path} is damaged: {why}")
