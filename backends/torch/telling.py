"""Weights that show differences between two ways to run a plan.

Initial ones hide them: a scale that starts at zero switches its branch off, and with fresh statistics the
values of a deep network fade until its results no longer depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...compiler.graph.program import Program
from .arrays import source_weights
from .build import to_torch

# What constants that start at zero are replaced by: normal numbers of this size.
_SMALL = 0.2


def telling_weights(program: Program, inputs: Sequence[Any], seed: int = 0) -> Mapping[str, Tensor]:
    """A plan's initial weights by path, its constants made random, and statistics those of these inputs.

    `inputs` are arrays or tensors, in order. Every operator gets values of a size as in a trained network.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = {path: _varied(x, generator) for path, x in source_weights(program, seed=seed).items()}
    return drawn | _statistics(program, drawn, inputs)


def _varied(initial: Tensor, generator: torch.Generator) -> Tensor:
    """The tensor, or random numbers about the one that all its elements are."""
    if not initial.is_floating_point() or not initial.numel() or initial.min() != initial.max():
        return initial
    value = initial.double().mean()
    chance = torch.rand(initial.shape, generator=generator, dtype=torch.float64)
    normal = torch.randn(initial.shape, generator=generator, dtype=torch.float64)
    # A layer scale of 1e-6 is as good as zero.
    return (_SMALL * normal if value.abs() < _SMALL / 2 else value * (0.5 + chance)).to(initial.dtype)


def _statistics(program: Program, weights: Mapping[str, Tensor], inputs: Sequence[Any]) -> dict[str, Tensor]:
    """The running statistics by path, each set before it is used to those of what it is used on."""
    module = to_torch(program, state_dict=weights).eval()
    measured: dict[str, Tensor] = {}

    def measure(path: str) -> Any:
        def settle(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
            mean, variance = norm.running_mean, norm.running_var
            if not isinstance(mean, Tensor) or not isinstance(variance, Tensor) or not given[0].numel():
                return
            # One value says nothing of how others vary, nor do equal ones.
            rows = given[0].transpose(0, 1).flatten(1)
            spread = rows.var(1, correction=0)
            spread = torch.where(spread > 1e-6, spread, variance)
            # Not quite, or no channel's mean would show.
            mean.copy_(rows.mean(1) + 0.1 * mean)
            variance.copy_(spread)
            measured[f"{path}.running_mean"], measured[f"{path}.running_var"] = mean.clone(), variance.clone()

        return settle

    for path, leaf in module.named_modules():
        if isinstance(leaf, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            leaf.register_forward_pre_hook(measure(path))
    with torch.no_grad():
        module(*[torch.as_tensor(each) for each in inputs])
    return measured


__all__ = ["telling_weights"]
