"""The initial content of weights: the plan's initialisers by torch.nn.init."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import init

from ...compiler.ops.core.init import Init
from .errors import LoweringError


def _normal(tensor: Tensor, *, mean: float, std: float, zero_row: int | None = None) -> None:
    init.normal_(tensor, mean, std)
    if zero_row is not None:
        tensor[zero_row] = 0.0


def _trunc_normal(tensor: Tensor, *, high: float, low: float, mean: float, std: float) -> None:
    init.trunc_normal_(tensor, mean=mean, std=std, a=low, b=high)


def _uniform(tensor: Tensor, *, high: float, low: float) -> None:
    init.uniform_(tensor, low, high)


def _constant(tensor: Tensor, *, value: float) -> None:
    # A float that the type cannot hold is infinite there; `fill_` refuses it.
    if tensor.is_floating_point():
        tensor.copy_(torch.tensor(value, dtype=torch.float64))
    else:
        tensor.fill_(value)


def _fan_in_uniform(tensor: Tensor, *, fan_in: int | None = None) -> None:
    bound = fan_in_bound(tuple(tensor.shape), fan_in)
    init.uniform_(tensor, -bound, bound)


def fan_in_bound(shape: tuple[int, ...], fan_in: int | None = None) -> float:
    """The half width of `fan_in_uniform`: 1/sqrt(fan_in), by default of all axes but the first."""
    fan_in = math.prod(shape[1:]) if fan_in is None else fan_in
    return 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0


# The initialisers' own arguments are keyword arguments of these.
FILL: Final[dict[str, Callable[..., Any]]] = {
    "constant": _constant,
    "normal": _normal,
    "uniform": _uniform,
    "trunc_normal": _trunc_normal,
    "kaiming_uniform": init.kaiming_uniform_,
    "kaiming_normal": init.kaiming_normal_,
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal": init.xavier_normal_,
    "orthogonal": init.orthogonal_,
    "eye": init.eye_,
    "fan_in_uniform": _fan_in_uniform,
}


@torch.no_grad()
def fill(tensor: Tensor, initialiser: Init, path: str) -> None:
    """Fill a tensor in place.

    Types narrower than f32 are drawn in f32 and rounded; a complex tensor's parts are drawn in turn.
    """
    function = FILL.get(initialiser.kind)
    if function is None:
        raise LoweringError(f"{path}: torch has no initialiser `{initialiser.kind}`")
    if not tensor.numel():
        return
    arguments = dict(initialiser.arguments)
    if initialiser.kind == "constant" or tensor.dtype in (torch.float32, torch.float64):
        function(tensor, **arguments)
    elif tensor.is_complex():
        for part in (tensor.real, tensor.imag):
            part.copy_(_filled(part, function, arguments))
    else:
        tensor.copy_(_filled(tensor, function, arguments))


def _filled(like: Tensor, function: Callable[..., Any], arguments: dict[str, Any]) -> Tensor:
    wide = torch.float64 if like.dtype == torch.float64 else torch.float32
    drawn = torch.empty(like.shape, dtype=wide, device=like.device)
    function(drawn, **arguments)
    return drawn
