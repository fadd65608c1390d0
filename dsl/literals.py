"""Reading of numbers and texts as they are written."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from .limits import MAX_INTEGER, MAX_NUMBER_LENGTH

_SUFFIXES = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t", "{": "{", "}": "}"}
_ESCAPE = re.compile(r"\\(.)")


def read_number(text: str) -> int | float | None:
    """The value of a number: an int if written without point and exponent, or if its suffix K, M, G or T
    makes it whole. None if it is beyond `MAX_INTEGER`, not finite, or longer than `MAX_NUMBER_LENGTH`.
    """
    if len(text) > MAX_NUMBER_LENGTH:
        return None
    scale = _SUFFIXES.get(text[-1], 1)
    digits = text.rstrip("KMGT").replace("_", "")
    value = float(digits) * scale
    if digits.isdecimal():
        exact = int(digits) * scale
        return exact if exact <= MAX_INTEGER else None
    if scale == 1:
        return value if math.isfinite(value) else None
    if value > MAX_INTEGER:
        return None
    exact = Decimal(digits) * scale
    return int(exact) if exact == exact.to_integral_value() else value


def read_text(text: str) -> tuple[str, list[int]]:
    """The meaning of a stretch of a quoted text, and the offsets of its unknown escapes."""
    if "\\" not in text:
        return str(text), []
    bad = [match.start() for match in _ESCAPE.finditer(text) if match[1] not in _ESCAPES]
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), text), bad
