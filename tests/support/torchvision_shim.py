"""Import torchvision, and timm which needs it, beside any build of torch.

The compiled operators of torchvision load only beside the torch that they were built for. Without them its
import fails, because it registers shape rules for two operators that nobody has declared; declaring those is
enough.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

MISSING = ("nms", "qnms")
_declared: list[Any] = []  # a torch library withdraws its declarations when it is collected


@cache
def import_torchvision() -> ModuleType:
    """Return torchvision, with its operators declared if they could not be loaded."""
    import torch

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed", name="torchvision")
    for library in Path(spec.origin).parent.glob("_C*"):
        with suppress(OSError):
            torch.ops.load_library(str(library))
    absent = [name for name in MISSING if not hasattr(torch.ops.torchvision, name)]
    if absent:
        declarations = torch.library.Library("torchvision", "FRAGMENT")
        for name in absent:
            declarations.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(declarations)
    return importlib.import_module("torchvision")


@cache
def import_timm() -> ModuleType:
    """Return timm, with torchvision made importable first."""
    import_torchvision()
    return importlib.import_module("timm")
