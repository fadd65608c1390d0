"""Planform: a compiler for neural-network architectures.

import planform

model = planform.load("resnet.plan", plan="resnet50")
model.check()                          # diagnostics and claims
model.cost(B=1, H=224, W=224)          # exact operations, parameters, bytes
module = model.to_torch()              # an ordinary torch.nn.Module
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api.model import Model, load
    from .api.plan_file import CheckReport, PlanFile
    from .backends.tvm.runtime.compiled import load_compiled
    from .compiler.errors import PlanformError
    from .dsl.diagnostics import Diagnostic, PlanError

_HOMES = {
    "load": "api.model",
    "Model": "api.model",
    "PlanFile": "api.model",
    "CheckReport": "api.model",
    "load_compiled": "backends.tvm.runtime.compiled",
    "PlanError": "dsl.diagnostics",
    "PlanformError": "compiler.errors",
    "Diagnostic": "dsl.diagnostics",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import planform` stays instant.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


__all__ = [
    "CheckReport",
    "Diagnostic",
    "Model",
    "PlanError",
    "PlanFile",
    "PlanformError",
    "__version__",
    "load",
    "load_compiled",
]
