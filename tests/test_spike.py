"""Spikes and their surrogate gradients, in neurons that a plan writes with `scan`."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.compiler.ops import registry
from support.eager import Eager
from support.references import references

NEURONS = """planform 1
block membrane(x: [*S], v: [*S]) {
    v = v + (x - v) / 2
    fired = spike(v, surrogate="SURROGATE", alpha=2.0)
    return (fired, v * (1 - detach(fired)))
}
model net(x: [T, B, 5]) {
    param w: [5] = ones()
    spikes, v = (x * w, zeros([B, 5])) -> scan(membrane(), axis=0)
    return (spikes, v)
}
plan p = net()
"""
SURROGATES = ("sigmoid", "atan", "rectangle")


def plan(surrogate: str, **sizes: int) -> Model:
    model = Model(PlanFile.from_text(NEURONS.replace("SURROGATE", surrogate)), "p", {})
    return model.at(**sizes) if sizes else model


def normal(*shape: int) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("alpha", [0.5, 4.0])
def test_gradient_is_the_surrogates(surrogate: str, alpha: float) -> None:
    op: Any = registry()["spike"](threshold=0.25, surrogate=surrogate, alpha=alpha)
    gradients: list[Tensor] = []
    for fire in (lambda x: op.torch(Eager("f64"), x), lambda x: references()["spike"](op, x)):
        x = torch.linspace(-6, 6, 241, dtype=torch.float64).requires_grad_()
        y = fire(x)
        assert torch.equal(y, (x >= 0.25).double())
        (y * torch.linspace(1, 2, 241, dtype=torch.float64)).sum().backward()
        assert x.grad is not None
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_slopes_at_the_threshold_are_those_documented() -> None:
    for surrogate, slope in zip(SURROGATES, (1.0, 2.0, 4.0), strict=True):
        op: Any = registry()["spike"](surrogate=surrogate, alpha=4.0)
        x = torch.ones((), dtype=torch.float64, requires_grad=True)
        op.torch(Eager("f64"), x).backward()
        assert x.grad is not None and float(x.grad) == pytest.approx(slope)


def by_hand(x: Tensor, w: Tensor, surrogate: str) -> tuple[Tensor, Tensor]:
    """Leaky neurons that fire at 1 and then start from 0."""
    op: Any = registry()["spike"](surrogate=surrogate, alpha=2.0)
    v, found = torch.zeros_like(x[0]), []
    for step in x * w:
        v = v / 2 + step / 2
        found.append(references()["spike"](op, v))
        v = torch.where(found[-1].detach() > 0, torch.zeros_like(v), v)
    return torch.stack(found), v


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("sizes", [{"T": 6}, {}])
def test_neurons_fire_and_learn_as_by_hand(surrogate: str, sizes: dict[str, int]) -> None:
    """With steps written out, and in a loop."""
    ours = plan(surrogate, **sizes).to_torch(dtype=torch.float64)
    x, weights = normal(6, 3, 5), torch.ones(5, dtype=torch.float64, requires_grad=True)
    wanted = by_hand(x, weights, surrogate)
    found = ours(x)
    assert 0 < float(found[0].detach().mean()) < 1
    assert torch.equal(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-12, atol=1e-12)
    for results in (found, wanted):
        (results[0] * normal(6, 3, 5)).sum().add(results[1].sum()).backward()
    torch.testing.assert_close(ours.w.grad, weights.grad, rtol=1e-10, atol=1e-12)


def test_neurons_are_pickled_and_exported() -> None:
    ours = plan("atan", T=6, B=3).to_torch(dtype=torch.float64).eval()
    x = normal(6, 3, 5)
    again = pickle.loads(pickle.dumps(ours))
    exported = torch.export.export(ours, (x,)).module()
    for other in (again, exported):
        for left, right in zip(other(x), ours(x), strict=True):
            assert torch.equal(left, right)
    again(x)[0].sum().backward()
    assert float(again.w.grad.abs().sum()) > 0


def test_a_spike_costs_a_comparison() -> None:
    text = "planform 1\nmodel net(x: [B, 5]) { return spike(x) }\nplan p = net()\n"
    assert Model(PlanFile.from_text(text), "p", {}).cost(B=3).sums.flops == 15


@pytest.mark.parametrize(
    ("call", "says"),
    [("spike(x, alpha=0.0)", "must be positive"), ('spike(x, surrogate="step")', "step")],
)
def test_what_is_no_surrogate_is_told(call: str, says: str) -> None:
    text = f"planform 1\nmodel net(x: [B, 5]) {{ return {call} }}\nplan p = net()\n"
    (found,) = PlanFile.from_text(text).check().diagnostics
    assert says in found.message
