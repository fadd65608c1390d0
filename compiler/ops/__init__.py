"""The operators, one family a file. A new file here is found by itself."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from .core.base import REGISTRY, Layer, Op, Operator


@cache
def registry() -> dict[str, type[Operator]]:
    """All operators by the name that the language calls them by."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return {name: operator for name, operator in REGISTRY.items() if not operator.internal}


__all__ = ["Layer", "Op", "Operator", "registry"]
