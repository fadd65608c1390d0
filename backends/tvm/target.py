"""What a user may say of the machine to build for: "cpu" for this one, "cuda", or TVM's description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from .errors import TargetError

Target = str | Mapping[str, Any] | None


def parse(target: Target) -> dict[str, Any] | None:
    """A target as TVM's description, None for this machine; raises `TargetError` for what is neither."""
    if target is None or target == "cpu":
        return None
    if isinstance(target, Mapping):
        return dict(target)
    if target == "cuda":
        return {"kind": "cuda"}
    help = 'write "cpu" or "cuda", or a JSON object such as {"kind": "llvm", "mcpu": "znver4"}'
    if not target.lstrip().startswith("{"):
        raise TargetError("E701", f"`{target}` is no target", help)
    try:
        found = json.loads(target)
    except ValueError as error:
        raise TargetError("E701", f"the target is no JSON object: {error}", help) from None
    return found


def is_gpu(described: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    """Whether a description is of a GPU that there are kernels for."""
    return described is not None and described.get("kind") == "cuda"
