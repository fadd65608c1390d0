"""Files and their imports: reading, parsing once, and holding `use` inside the project, the library and the
atlas.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import cast

from ..compiler.files import read_text
from ..compiler.once import once
from . import syntax
from .diagnostics import fail
from .parser import parse
from .source import Source
from .suggest import did_you_mean

LIBRARIES = ("std", "atlas")
_MARKERS = ("pyproject.toml", ".git", ".planform")


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
        text = read_text(path)
        shown = os.path.relpath(path)
        return Source(str(path) if shown.startswith("..") else shown, text, str(path.resolve()))

    def parsed(self, source: Source) -> syntax.File:
        """The syntax tree of a source; parsed once for each path."""
        key = source.path or f"<{id(source)}>"
        known = self.files.get(key)
        if known is None:
            known = self.files[key] = parse(source)
        return known

    def imported(self, use: syntax.Use, within: Source) -> Sequence[syntax.File]:
        """The files that a `use` may find its names in; raises `PlanError`."""
        if use.library is not None:
            return self._of_library(use, use.library)
        path = cast("str", use.path)
        if within.origin == "atlas" and within.path is not None:
            key = posixpath.normpath(posixpath.join(posixpath.dirname(within.path.partition(":")[2]), path))
            return [self._of_atlas(key, use)]
        if within.path is None or within.origin == "std":
            raise fail("E105", use.span, path=path)
        here = Path(within.path).parent
        target = Path(os.path.normpath(here / path))
        root = self.root or project_root(Path(within.path))
        try:
            resolved = target.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a link to itself, or a name with a zero byte
            raise fail("E104", use.span, str(error), path=path) from None
        if (
            Path(path).is_absolute()
            or not resolved.is_relative_to(root.resolve())
            or target.suffix != ".plan"
        ):
            raise fail("E105", use.span, path=path)
        if not resolved.is_file():
            near = [p.name for p in target.parent.glob("*.plan")] if target.parent.is_dir() else []
            raise fail("E104", use.span, path=path, help=did_you_mean(target.name, near))
        try:
            return [self.parsed(self.read(resolved))]
        except OSError as error:
            raise fail("E104", use.span, error.strerror or str(error), path=path) from None
        except UnicodeDecodeError as error:
            raise fail("E104", use.span, str(error), path=path) from None

    def _of_library(self, use: syntax.Use, name: str) -> Sequence[syntax.File]:
        if name == "std" and use.path is None:
            return library()
        if name == "std":
            help = ["the blocks of std are named without their file: `use std (mlp)`"]
            raise fail("E112", use.span, name=name, reason="takes no file", help=help)
        if name != "atlas":
            help = did_you_mean(name, LIBRARIES)
            raise fail("E108", use.span, name=name, help=help)
        if use.path is None:
            help = ['name one of its networks: `use atlas "convnets/resnet.plan" (bottleneck)`']
            raise fail("E112", use.span, name=name, reason="needs a file", help=help)
        return [self._of_atlas(use.path, use)]

    def _of_atlas(self, path: str, use: syntax.Use) -> syntax.File:
        # The path is looked up among those that are there, and never joined to a folder.
        entry = atlas().get(path)
        if entry is None:
            raise fail("E104", use.span, path=f"atlas/{path}", help=_near(path, list(atlas())))
        key = f"atlas:{path}"
        if key not in self.files:
            self.files[key] = parse(Source(f"atlas/{path}", entry.read_text(encoding="utf-8"), key, "atlas"))
        return self.files[key]


def _near(path: str, known: list[str]) -> list[str]:
    """Help for a path that the atlas does not have: what is close to it, else what its folder holds."""
    name = path.rpartition("/")[2].removesuffix(".plan")
    stems = {key.rpartition("/")[2].removesuffix(".plan"): key for key in known}
    if name in stems:
        return [f"did you mean `{stems[name]}`?"]
    close = [stems[stem] for stem in get_close_matches(name.lower()[:80], stems, n=3, cutoff=0.7)]
    if close:
        return [f"did you mean {' or '.join(f'`{key}`' for key in close)}?"]
    # Names of plans carry a size: `resnet50`.
    plan = re.match(r"[a-z]+(?:_v\d)?", name.lower())
    if plan is not None and plan[0] in stems:
        return [f"did you mean `{stems[plan[0]]}`?"]
    families = sorted({key.partition("/")[0] for key in known})
    family = path.partition("/")[0]
    if family in families:
        listed = ", ".join(f"`{key}`" for key in known if key.startswith(f"{family}/"))
        return [f"the atlas has {listed}"]
    return did_you_mean(family, families) or [f"its folders are {', '.join(families)}"]


@once
def atlas() -> dict[str, Traversable]:
    """The networks that come with the package, by `family/name.plan`."""
    folder = resources.files(__name__.split(".")[0]).joinpath("examples")
    return {
        f"{family.name}/{entry.name}": entry
        for family in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if family.is_dir()
        for entry in sorted(family.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".plan")
    }


@once
def library() -> tuple[syntax.File, ...]:
    """The files of the standard library, parsed once a process."""
    folder = resources.files(__package__ or __name__).joinpath("std")
    files: list[syntax.File] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".plan"):
            text = entry.read_text(encoding="utf-8")
            files.append(parse(Source(f"std/{entry.name}", text, f"std:{entry.name}", "std")))
    return tuple(files)
