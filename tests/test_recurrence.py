"""First-order recurrences: any length, symbolic ones too, through the backend; their cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.compiler.ops import registry
from support.eager import Eager
from support.references import references

LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 300)


def plan(text: str) -> Model:
    return Model(PlanFile.from_text("planform 1\n" + text), "p", {})


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(got: Any, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("options", [{"axis": 1}, {"axis": 1, "reverse": True}])
def test_recurrence_of_any_length(length: int, options: dict[str, Any]) -> None:
    op: Any = registry()["linear_recurrence"](**options)
    # Zero factors forget; negative ones turn the sign.
    a, b, state = (
        normal(2, length, 3, seed=1).clamp(-1, 0.9).relu_(),
        normal(2, length, 3),
        normal(2, 3, seed=2),
    )
    for operands in ((a, b), (-a, b, state)):
        same(op.torch(Eager("f64"), *operands), references()["linear_recurrence"](op, *operands))


SYMBOLIC = """model net(a: [B, L, 3], b: [B, L, 3], state: [B, 3]) {
    return linear_recurrence(a, b, state, axis=1, reverse=true)
}
plan p = net()
"""


def test_recurrence_of_a_length_known_when_it_runs() -> None:
    ours = plan(SYMBOLIC).to_torch(dtype=torch.float64)
    op: Any = registry()["linear_recurrence"](axis=1, reverse=True)
    for length in (1, 16, 17, 300):
        operands = normal(2, length, 3).sigmoid(), normal(2, length, 3, seed=1), normal(2, 3, seed=2)
        same(ours(*operands), references()["linear_recurrence"](op, *operands))


def test_recurrence_is_exported() -> None:
    """With a fixed length it is plain arithmetic on slices."""
    text = SYMBOLIC.replace("L", "40")
    ours = plan(text).to_torch(dtype=torch.float64).eval()
    operands = normal(2, 40, 3).sigmoid(), normal(2, 40, 3, seed=1), normal(2, 3, seed=2)
    program = torch.export.export(ours, operands)
    same(program.module()(*operands), ours(*operands))


SELECTIVE = """model net(u: [B, 4, L], delta: [B, 4, L], b: [B, 2, 3, L], c: [B, 2, 3, L]) {
    param a: [4, 3] = constant(-0.5)
    param d: [4] = ones()
    param bias: [4] = constant(0.1)
    return selective_scan(u, delta, a, b, c, d, bias, softplus=true)
}
plan p = net()
"""


@pytest.mark.parametrize("length", [1, 16, 50])
def test_selective_scan_with_a_symbolic_length(length: int) -> None:
    ours = plan(SELECTIVE).to_torch(dtype=torch.float64)
    op: Any = registry()["selective_scan"](softplus=True)
    operands = [normal(2, 4, length), normal(2, 4, length, seed=1)]
    operands += [normal(2, 2, 3, length, seed=seed) for seed in (2, 3)]
    with torch.no_grad():
        ours.a.copy_(-normal(4, 3, seed=4).exp())
        u, delta, b, c = operands
        wanted = references()["selective_scan"](op, u, delta, ours.a, b, c, ours.d, ours.bias)
        same(ours(*operands), wanted)


def test_selective_scan_without_states_to_keep_is_a_weighted_input() -> None:
    """With a = -inf every step forgets: y = (c b) delta u, which no recurrence is needed for."""
    op: Any = registry()["selective_scan"]()
    u, delta = normal(1, 2, 40), normal(1, 2, 40, seed=1).exp()
    b, c = normal(1, 3, 40, seed=2), normal(1, 3, 40, seed=3)
    a = torch.full((2, 3), -1e9, dtype=torch.float64)
    same(op.torch(Eager("f64"), u, delta, a, b, c), (b * c).sum(1, keepdim=True) * delta * u)


def test_cost_by_hand() -> None:
    """Two batches, 4 channels, 3 states, 50 positions, with the skip, the bias and the softplus."""
    cost = plan(SELECTIVE).cost(B=2, L=50).sums.cost
    positions = 2 * 4 * 50
    states = 3 * positions
    assert cost.macs == 2 * states + positions
    assert cost.multiply == 2 * states + positions
    assert cost.transcendental == states + 2 * positions
    assert (cost.add, cost.compare, cost.divide) == (positions, positions, 0)
    formula = plan(SELECTIVE).cost().sums.cost
    assert str(formula.macs) == "28*B*L"


def test_cost_of_a_recurrence_by_hand() -> None:
    text = (
        "model net(a: [B, L, 3], b: [B, L, 3]) { return linear_recurrence(a, b, axis=1) }\nplan p = net()\n"
    )
    assert plan(text).cost(B=2, L=10).sums.cost.flops == 2 * 2 * 9 * 3
    assert plan(SYMBOLIC).cost(B=2, L=10).sums.cost.flops == 2 * 2 * 10 * 3


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ("u: [B, 4, 9], delta: [B, 4, 8], b: [B, 3, 9]", "lengths of u and delta differ: 9 and 8"),
        ("u: [B, 4, 9], delta: [B, 4, 9], b: [B, 2, 9]", "states of b and a differ: 2 and 3"),
        ("u: [B, 4, 9], delta: [B, 4, 9], b: [B, 3, 3, 9]", "the number of channels is 4, which 3 does not"),
    ],
)
def test_what_does_not_fit_is_told(shapes: str, message: str) -> None:
    text = f"""planform 1
model net({shapes}) {{
    param a: [4, 3] = zeros()
    return selective_scan(u, delta, a, b, b)
}}
plan p = net()
"""
    (found,) = PlanFile.from_text(text).check().diagnostics
    assert message in found.message
