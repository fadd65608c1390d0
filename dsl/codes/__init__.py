"""The table of diagnostic codes; importing it enters the codes of all its modules."""

from __future__ import annotations

from . import language, plans, running, syntax
from .table import CODES, Code

__all__ = ["CODES", "Code", "language", "plans", "running", "syntax"]
