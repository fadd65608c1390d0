"""Memory planned ahead: the order of operators, views, results in place, and offsets in one arena."""

from ..cost.sizes import BindingError
from .arrangement import Arrangement, MemoryPlanError, arrange, check
from .plan import Buffer, MemoryPlan, Step, plan_memory
from .problem import ALIGNMENT, Problem, Task

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
