"""`did you mean`: names close to one that is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST, _MOST = 80, 2000


def did_you_mean(name: str, known: Iterable[str]) -> list[str]:
    """Help lines that name at most three close matches; none if nothing is close."""
    # Looking takes the product of the lengths: nobody mistypes a text of a thousand letters.
    if len(name) > _LONGEST:
        return []
    others = sorted({k for k in known if k != name and len(k) <= _LONGEST})[:_MOST]
    # Names of torch's classes are close in lower case alone: `ReLU`, `BatchNorm2d`.
    found = get_close_matches(name, others, n=3, cutoff=0.7) or (
        get_close_matches(name.lower(), others, n=3, cutoff=0.7) if name != name.lower() else []
    )
    if not found:
        return []
    return [f"did you mean {' or '.join(f'`{match}`' for match in found)}?"]
