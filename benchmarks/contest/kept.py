"""The figures of a contest in a file, so that one of hours can be gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .figures import Case

SETTINGS = ("cpu", "cores", "threads", "processes", "rounds", "seconds", "drop", "versions")
"""What has to be the same of two runs for their cases to stand in one report."""


def write(file: Path, about: Mapping[str, Any], cases: Sequence[Case]) -> None:
    """All figures, with what was measured how; a file that is there is replaced whole."""
    made = file.with_suffix(".part")
    text = json.dumps({**about, "cases": [case.to_dict() for case in cases]}, indent=1)
    made.write_text(text + "\n", encoding="utf-8")
    made.replace(file)


def read(file: Path, about: Mapping[str, Any]) -> list[Case]:
    """The cases of a file that were measured as `about` says; none where there is no file."""
    if not file.exists():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))
    # As JSON has it, tuples are lists.
    same = json.loads(json.dumps({name: about[name] for name in SETTINGS}))
    if any(found.get(name) != value for name, value in same.items()):
        return []
    return [Case.from_dict(case) for case in found["cases"]]
