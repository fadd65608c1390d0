"""Training: the emitted source has the results, gradients and statistics of the plan's own module."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from planform import PlanError
from planform.backends.torch import emit_source, to_torch
from planform.backends.torch.errors import LoweringError
from support.emitted import load
from support.random_graphs import tensors

from .backends import FLOAT, Subject
from .drawing import inputs_of, weights_of

_CLOSE = 1e-4
_SLACK = 8
"""How much further off results may be than those of inputs that are rounded otherwise, of so many tries."""
_SAMPLES = 3


def training(subject: Subject) -> str | None:
    """How the two differ; None where they do not, or the plan does not train at these sizes."""
    try:
        program = subject.file.program("net", {}, None, ("eval", "train"))
        ours = to_torch(program)
    except (PlanError, LoweringError):
        return None
    weights = weights_of(program.weights, subject.setting.seed)
    ours.load_state_dict(weights, strict=False)
    graph = program.graphs["train"]
    inputs = inputs_of(graph, subject.sizes, subject.setting.seed, subject.setting.below)
    inputs = [x.to(_held(value.type.dtype, x)) for x, value in zip(inputs, graph.inputs, strict=True)]
    start = deepcopy(ours)
    try:
        wanted = _step(ours, inputs)
    except (RuntimeError, ValueError):
        return None
    theirs = load(emit_source(program))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    theirs.load_state_dict(weights, strict=False)
    found = _step(theirs, inputs)
    near = [_step(deepcopy(start), [_rounded(x, sample) for x in inputs]) for sample in range(_SAMPLES)]
    for name, right in wanted.items():
        other = found.get(name)
        if other is None or other.shape != right.shape:
            return f"{name} is missing or of another shape"
        if not right.is_complex():
            right, other = right.double(), other.double()
        scale, noise = _most(right), max(_most(moved[name] * 1.0 - right) for moved in near)
        close = _CLOSE * (scale + 1) + _SLACK * noise
        if not torch.allclose(other, right, rtol=0, atol=close, equal_nan=True):
            return f"{name} differs"
    return None


def _most(x: Tensor) -> float:
    """The greatest magnitude of the finite elements."""
    x = x if x.is_complex() else x.double()
    finite = x[x.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 0.0


def _rounded(x: Tensor, sample: int) -> Tensor:
    """The same numbers, each moved by about as much as rounding does."""
    if not (x.is_floating_point() or x.is_complex()):
        return x
    generator = torch.Generator().manual_seed(sample)
    chance = torch.rand(x.shape, generator=generator) * 2 - 1
    return (x * (1 + torch.finfo(x.dtype).eps * chance)).to(x.dtype)


def _held(dtype: str, x: Tensor) -> torch.dtype:
    """The torch type of an input."""
    return {"float": torch.float32, "complex": torch.complex64, "c64": torch.complex64}.get(
        dtype, FLOAT.get(dtype, x.dtype)
    )


def _step(module: nn.Module, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Results, gradients of weights and inputs, and what the buffers are afterwards, by name."""
    module.train()
    module.zero_grad()
    given = [x.clone().requires_grad_(x.is_floating_point() or x.is_complex()) for x in inputs]
    torch.manual_seed(1)
    results = tensors(module(*given))
    found = {f"result {number}": x.detach() for number, x in enumerate(results)}
    total = torch.zeros(())
    for x in results:
        if x.requires_grad:
            wide = (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x).float()
            total = total + (wide * torch.linspace(0.5, 1.5, wide.numel()).reshape(wide.shape)).sum()
    if total.requires_grad:
        total.backward()
    leaves = {f"input {number}": x for number, x in enumerate(given)} | dict(module.named_parameters())
    found |= {f"gradient of {name}": x.grad for name, x in leaves.items() if x.grad is not None}
    found |= {f"state {name}": x.detach().clone() for name, x in module.state_dict().items()}
    return found
