"""Parity with a reference implementation: the same weights under the plan's paths, the same results.

Every parameter and buffer is drawn anew first, because zero-initialised scales and fresh running statistics hide
errors. Everything is compared in float64, so that the tolerance leaves no room for another formula.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from planform.api.model import Model
from planform.backends.torch import PlanModule
from planform.backends.torch.rename import Rule, parse_rules, rename
from planform.backends.torch.weights import load_weights

RTOL = 1e-9


def assert_parity(
    model: Model,
    reference: nn.Module,
    inputs: Sequence[Tensor] | None = None,
    *,
    rules: str = "",
    modes: Sequence[str] = ("eval", "train"),
    size: int = 64,
    batch: int = 2,
    rtol: float = RTOL,
) -> PlanModule:
    """Assert that a plan computes what a reference module does; return the plan's module.

    `inputs` are by default a batch of square images. `rules` rename the reference's weights (see
    `planform.backends.torch.rename`). In train mode all gradients, and the buffers afterwards, are compared too;
    both sides must be built without dropout.
    """
    reference = randomised(reference)
    ours = model.to_torch(dtype=torch.float64, seed=1)
    table: tuple[Rule, ...] = parse_rules(rules)
    load_weights(ours, model.program, reference.state_dict(), table)
    assert count(ours) == count(reference), "numbers of parameters"
    inputs = [images(batch, size)] if inputs is None else inputs
    for mode in modes:
        assert mode in ("eval", "train")
        ours.train(mode == "train")
        reference.train(mode == "train")
        if mode == "eval":
            with torch.no_grad():
                assert_same(ours(*inputs), reference(*inputs), f"{model.name} in eval mode", rtol)
        else:
            assert_same_step(ours, reference, inputs, table, f"{model.name} in train mode", rtol)
    return ours


def assert_same_step(
    ours: nn.Module,
    reference: nn.Module,
    inputs: Sequence[Tensor],
    table: Sequence[Rule],
    what: str,
    rtol: float,
) -> None:
    """Assert equal outputs, gradients and state after one step of training without an update."""
    results = leaves(ours(*inputs)), leaves(reference(*inputs))
    assert_same(*results, what, rtol)
    for module, outputs in zip((ours, reference), results, strict=True):
        module.zero_grad()
        # The same weighting for both: not all ones, which would cancel where a softmax or a norm ends the network.
        generator = torch.Generator().manual_seed(7)
        loss = sum(
            (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum() for out in outputs
        )
        torch.as_tensor(loss).backward()
    names = rename(reference.state_dict(), table)
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    ours_by_path = dict(ours.named_parameters())
    scale = max(float(g.abs().max()) for g in gradients.values() if g is not None)
    for name, wanted in gradients.items():
        path = names[name]
        assert path is not None
        got = ours_by_path[path].grad
        assert (got is None) == (wanted is None), f"{what}: only one side has a gradient of {path}"
        if got is not None and wanted is not None:
            # Gradients that cancel to nothing, as those of a bias before a norm, have no scale of their own.
            close(got, wanted, f"{what}: the gradient of {path}", 10 * rtol, 1e-3 * scale)
    after = ours.state_dict()
    for name, wanted in reference.state_dict().items():
        path = names[name]
        if path is not None:
            close(after[path], wanted, f"{what}: {path} afterwards", rtol)


def assert_same(got: Any, wanted: Any, what: str, rtol: float = RTOL) -> None:
    """Assert that nested results are equal, relative to the largest element of each."""
    left, right = leaves(got), leaves(wanted)
    assert len(left) == len(right), f"{what}: {len(left)} results and not {len(right)}"
    for number, (a, b) in enumerate(zip(left, right, strict=True)):
        close(a, b, f"{what}: result {number}", rtol)


def close(got: Tensor, wanted: Tensor, what: str, rtol: float, least: float = 0.0) -> None:
    """Assert that two tensors agree within `rtol` of the largest element (or of `least`, if that is more)."""
    assert got.shape == wanted.shape, f"{what}: {list(got.shape)} and not {list(wanted.shape)}"
    if wanted.numel() == 0:
        return
    if not wanted.is_floating_point() and not wanted.is_complex():
        assert torch.equal(got, wanted), what
        return
    got, wanted = got.detach(), wanted.detach()
    scale = max(float(wanted.abs().max()), least, 1e-30)
    assert math.isfinite(scale), f"{what}: the reference is not finite"
    error = float((got - wanted).abs().max()) / scale
    assert error <= rtol, f"{what}: off by {error:.1e} of {scale:.2e}"


def leaves(value: Any) -> list[Tensor]:
    """The tensors of a nested result, in order."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [leaf for item in items for leaf in leaves(item)]


def images(batch: int, size: int, seed: int = 3) -> Tensor:
    """A batch of square images of noise."""
    return torch.randn(
        batch, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def count(module: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def randomised(reference: nn.Module, seed: int = 5) -> nn.Module:
    """A copy in float64 with all parameters and floating buffers drawn anew.

    Weights keep activations near 1, scales stay away from 0 and variances are positive. Buffers of integers are
    left alone but for batch counters: they are tables of indices. So are those that are not saved: masks, coordinates.
    """
    reference = copy.deepcopy(reference).double()
    generator = torch.Generator().manual_seed(seed)
    saved = reference.state_dict().keys()
    with torch.no_grad():
        for name, tensor in [*reference.named_parameters(), *reference.named_buffers()]:
            last = name.rpartition(".")[2]
            if name not in saved:
                continue
            if last == "num_batches_tracked":
                tensor.fill_(int(torch.randint(1, 9, (), generator=generator)))
            elif tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(content(last, tensor, drawn))
    return reference


def content(last: str, like: Tensor, drawn: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) made into the content of a weight of that name."""
    centred = math.sqrt(12) * (drawn - 0.5)  # standard deviation 1
    if last == "running_var":
        return 0.5 + drawn
    if last in ("running_mean", "bias"):
        return 0.2 * centred
    if like.dim() >= 2 and last not in ("pos_embed", "cls_token", "dist_token"):
        fan_in = max(math.prod(like.shape[1:]), 1)
        return centred * math.sqrt(2 / fan_in)
    return (0.5 + drawn) if like.dim() < 2 else centred  # scales, embeddings


def assert_initialised_alike(
    model: Model, build: Callable[[], nn.Module], *, rules: str = "", least: int = 500
) -> None:
    """Assert that a plan draws its initial weights from the distributions of a reference's constructor.

    Constants are compared exactly; for others of at least `least` elements mean, spread and kurtosis must agree
    within what chance allows, which tells uniform from normal and one fan from the other.
    """
    torch.manual_seed(0)
    reference = build().state_dict()
    ours = model.to_torch(seed=1).state_dict()
    for name, path in rename(reference, parse_rules(rules)).items():
        if path is None:
            continue
        wanted, got = reference[name].double(), ours[path].double()
        if float(wanted.min()) == float(wanted.max()):
            # A single element may have been drawn.
            if wanted.numel() > 1 or float(wanted) in (0.0, 1.0):
                assert torch.equal(wanted, got), f"{path}: not all {float(wanted.flatten()[0])}"
        elif wanted.numel() >= least:
            n = wanted.numel()
            spread, found = float(wanted.std()), float(got.std())
            assert abs(found / spread - 1) < 5 / math.sqrt(n), f"{path}: spread {found:.4g}, not {spread:.4g}"
            shift = abs(float(got.mean() - wanted.mean()))
            assert shift < 8 * spread / math.sqrt(n), f"{path}: mean off by {shift:.2g}"
            if n >= 4 * least:
                assert abs(_kurtosis(got) - _kurtosis(wanted)) < 0.6, f"{path}: another distribution"


def _kurtosis(x: Tensor) -> float:
    centred = x - x.mean()
    return float(centred.pow(4).mean() / centred.pow(2).mean() ** 2)
