"""`did you mean`: names close to one that is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> list[str]:
    """Help lines that name at most three close matches; none if nothing is close."""
    found = get_close_matches(name, sorted({k for k in known if k != name}), n=3, cutoff=0.7)
    if not found:
        return []
    return [f"did you mean {' or '.join(f'`{match}`' for match in found)}?"]
