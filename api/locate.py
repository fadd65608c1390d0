"""Where plans are: files, and those that come with the package, by name."""

from __future__ import annotations

import re
from pathlib import Path

from ..compiler.errors import MissingFile
from ..compiler.files import read_text

EXAMPLES = Path(__file__).parent.parent / "examples"


def examples() -> list[Path]:
    """The plan files that come with the package."""
    return sorted(EXAMPLES.glob("*/*.plan"))


def declares(path: Path, plan: str) -> bool:
    """Whether a file's text declares a plan of that name; a quick look without parsing."""
    return re.search(rf"^plan\s+{re.escape(plan)}\b", read_text(path), re.MULTILINE) is not None


def locate(address: str) -> tuple[Path, str | None]:
    """File and plan of `FILE`, `FILE:PLAN` or the name of a plan or file of the atlas; raises
    FileNotFoundError.
    """
    path = Path(address)
    if path.suffix == ".plan" and path.exists():
        return path, None
    file, colon, plan = address.rpartition(":")
    if colon and file.endswith(".plan"):
        if not Path(file).exists():
            raise MissingFile(f"there is no file {file}")
        return Path(file), plan
    if path.suffix == ".plan":
        raise MissingFile(f"there is no file {address}")
    known = examples()
    for found in known:
        if declares(found, address):
            return found, address
    for found in known:
        if found.stem == address:
            return found, None
    raise MissingFile(f"`{address}` is neither a .plan file nor a plan of the atlas")
