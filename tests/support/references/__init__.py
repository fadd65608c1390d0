"""Independent torch references of operators whose lowering is composed of several calls.

A file here holds the references of one family; each is written from the paper or from torch's own function
and shares no code with the lowering. It takes the operator (for its arguments) and tensors by operand name,
and raises where torch refuses.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

Reference = Callable[..., Any]
_known: dict[str, Reference] = {}


def reference(*names: str) -> Callable[[Reference], Reference]:
    """Register `function(op, ...) -> tensor or tuple` for operators; called as `torch(t, ...)` is."""

    def register(function: Reference) -> Reference:
        for name in names:
            assert name not in _known, f"two references of {name}"
            _known[name] = function
        return function

    return register


@cache
def references() -> dict[str, Reference]:
    """All references by operator name."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return _known
