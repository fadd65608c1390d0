"""Memory planned ahead: the order of operators, views, results in place, and offsets in one arena."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .arrangement import Arrangement, MemoryPlanError, arrange, check
from .problem import ALIGNMENT, Problem, Task

if TYPE_CHECKING:
    from ..cost.sizes import BindingError
    from .plan import Buffer, MemoryPlan, Step, plan_memory

# What knows graphs is loaded on first use: a runtime that places buffers needs none of it.
_HOMES = {
    "BindingError": "..cost.sizes",
    "Buffer": ".plan",
    "MemoryPlan": ".plan",
    "Step": ".plan",
    "plan_memory": ".plan",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


__all__ = [
    "ALIGNMENT",
    "Arrangement",
    "BindingError",
    "Buffer",
    "MemoryPlan",
    "MemoryPlanError",
    "Problem",
    "Step",
    "Task",
    "arrange",
    "check",
    "plan_memory",
]
