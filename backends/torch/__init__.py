"""The PyTorch backend: a program as a module, or as source text that needs torch alone."""

from .errors import InputError, LoweringError
from .module import PlanModule, to_torch

__all__ = ["InputError", "LoweringError", "PlanModule", "to_torch"]
