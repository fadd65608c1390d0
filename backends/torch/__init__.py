"""The PyTorch backend: a program as a module, or as source text that needs torch alone."""

from .build import to_torch
from .deploy import DeployedModule, to_deployed
from .emit import emit_source
from .errors import InputError, LoweringError, ModeError
from .module import PlanModule

__all__ = [
    "DeployedModule",
    "InputError",
    "LoweringError",
    "ModeError",
    "PlanModule",
    "emit_source",
    "to_deployed",
    "to_torch",
]
