"""What a graph costs: parameters, operations, bytes, for each operator and in sum."""

from .conventions import CONVENTIONS
from .groups import Group
from .report import SCHEMA, CostReport, cost
from .rows import Row
from .sizes import BindingError

__all__ = ["CONVENTIONS", "SCHEMA", "BindingError", "CostReport", "Group", "Row", "cost"]
