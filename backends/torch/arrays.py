"""Weights for a backend that knows numpy alone: read or drawn, and computed as deploying asks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ...compiler.dtypes import DType
from ...compiler.graph.program import Program
from ...compiler.rewriting.pipeline import Deployed
from .build import to_torch
from .deploy import run_prologue, to_deployed
from .dtypes import torch_dtype
from .module import initial, seeded
from .weights import BindError, bind, read_checkpoint


def source_weights(
    program: Program,
    weights: Mapping[str, Tensor] | str | Path | None = None,
    seed: int | None = None,
    others: Callable[[], Collection[str]] = tuple,
) -> Mapping[str, Tensor]:
    """A plan's own weights, by path: those of a state_dict or file, or else its initial ones.

    `others` gives the paths of weights that the plan has in training alone. Raises `BindError` unless all
    fits, `CheckpointError` and OSError.
    """
    if weights is None:
        cpu = torch.device("cpu")
        with seeded(seed, cpu):
            return {path: initial(weight, torch.float32, cpu) for path, weight in program.weights.items()}
    report = bind(program, read_checkpoint(weights) if isinstance(weights, (str, Path)) else weights)
    if report.extra:
        report = replace(report, extra=tuple(path for path in report.extra if path not in others()))
    if not report.ok:
        raise BindError(report)
    return report.tensors


def deployed_arrays(
    deployed: Deployed, weights: Mapping[str, Tensor], float_as: DType = "f32"
) -> dict[str, np.ndarray]:
    """The weights of the deployed graph, by path, from the plan's own.

    They are computed in float64 and rounded once; bfloat16 is given as its bits.
    """
    wide = run_prologue(deployed.prologue, weights)
    found: dict[str, np.ndarray] = {}
    for path, weight in deployed.graph.weights.items():
        tensor = wide[path].detach().to(torch_dtype(weight.type.dtype, torch_dtype(float_as))).contiguous()
        found[path] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def evaluated(
    deployed: Deployed, weights: Mapping[str, Tensor], inputs: Sequence[Any], optimised: bool
) -> Any:
    """What a plan, or its `optimised` graph, computes from its own weights and arrays, as arrays."""
    source = deployed.source
    if optimised:
        module = to_deployed(source, weights, deployed=deployed)
    else:
        module = to_torch(source, state_dict=weights)
    with torch.inference_mode():
        found = module.eval()(*[torch.as_tensor(each) for each in inputs])
    return tree_map_only(Tensor, lambda tensor: tensor.numpy(), found)
