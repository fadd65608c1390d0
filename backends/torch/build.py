"""A program as a torch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ...compiler.graph.program import Program
from .deploy import to_deployed
from .module import PlanModule, assemble, initial, seeded
from .weights import load_weights


def to_torch(
    program: Program,
    *,
    mode: Literal["deploy"] | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    seed: int | None = None,
    channels_last: bool | None = None,
) -> PlanModule:
    """A module that computes the program, in training mode.

    With `mode="deploy"` it is for inference: the optimised graph of eval mode, whose merged weights are
    computed once from the plan's (see `to_deployed`, and there `channels_last`).

    `dtype` binds the plan's floats. Weights come from a `state_dict` by the plan's paths; or they are drawn
    by the plan's initialisers, from torch's global generator or, with a `seed`, reproducibly and without
    touching it. Raises `LoweringError` where torch cannot express the plan, and `BindError` where the
    weights do not fit.
    """
    place = torch.device(device) if device is not None else torch.get_default_device()
    if mode == "deploy":
        return to_deployed(
            program, state_dict, dtype=dtype, device=place, seed=seed, channels_last=channels_last
        )
    with seeded(seed, place):
        module = assemble(program, dtype, place, lambda weight: initial(weight, dtype, place))
    if state_dict is not None:
        load_weights(module, program, state_dict)
    if channels_last:
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return module
