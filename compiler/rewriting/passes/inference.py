"""What matters in training alone."""

from __future__ import annotations

from ..match import anything, op
from ..rule import Rule

RULES = (
    Rule(
        "drop the end of gradients",
        "operators",
        op("detach", x=anything("x")),
        lambda match, edit: match["x"],
    ),
)
