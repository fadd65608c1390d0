"""Emitted source as a module."""

from __future__ import annotations

import ast
from typing import Any

from torch import nn


def load(source: str) -> nn.Module:
    """The network of emitted source."""
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(source, "emitted.py", "exec"), space)
    classes = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return space[classes[-1]]()
