"""What a reference computed, kept as a few numbers: for code that cannot be installed as a package.

`fingerprint(fill(module), input)` is run once on the reference, in its own checkout, and ever after on the plan. Weights
and inputs are drawn by their names from Python's generator, whose sequences never change, so both sides get the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

import torch
from torch import Tensor, nn

from support.parity import content, leaves

RTOL = 1e-8  # other machines sum in another order, and norms over few samples amplify that


def uniform(name: str, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Numbers in [0, 1) that depend on a name alone."""
    generator = Random(name)
    drawn = [generator.random() for _ in range(math.prod(shape))]
    return torch.tensor(drawn, dtype=torch.float64).reshape(tuple(shape))


def noise(name: str, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """As `uniform`, with mean 0 and deviation 1."""
    return math.sqrt(12) * (uniform(name, shape) - 0.5)


def fill(module: nn.Module) -> nn.Module:
    """Draw all parameters and floating buffers anew, in float64 and in place."""
    module.double()
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(content(name.rpartition(".")[2], tensor, uniform(name, tensor.shape)))
    return module


def fingerprint(module: nn.Module, *inputs: Tensor) -> dict[str, float]:
    """The number of parameters of a filled module, and projections of outputs in both modes, and of gradients and state after one step.

    A projection is the scalar product with noise of the tensor's own name, so that no element counts twice alike.
    """
    found = {"params": float(sum(parameter.numel() for parameter in module.parameters()))}
    module.eval()
    with torch.no_grad():
        for number, output in enumerate(leaves(module(*inputs))):
            found[f"eval {number}"] = float(_projected(f"output {number}", output))
    module.train()
    projections = [
        _projected(f"output {number}", output) for number, output in enumerate(leaves(module(*inputs)))
    ]
    found |= {f"train {number}": value.item() for number, value in enumerate(projections)}
    torch.stack(projections).sum().backward()
    found["gradients"] = sum(
        float(_projected(name, parameter.grad))
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    )
    found["state"] = sum(
        float(_projected(name, buffer))
        for name, buffer in module.named_buffers()
        if buffer.is_floating_point()
    )
    return found


def assert_recorded(found: Mapping[str, float], wanted: Mapping[str, float], rtol: float = RTOL) -> None:
    """Assert that a fingerprint is the recorded one."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert math.isclose(found[name], value, rel_tol=rtol), f"{name}: {found[name]!r} and not {value!r}"


def _projected(name: str, tensor: Tensor) -> Tensor:
    return (tensor * noise(f"probe of {name}", tensor.shape)).sum()
