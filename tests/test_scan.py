"""`scan`: a step run along an axis, against torch's recurrent networks; unrolled against looped; what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from support.parity import close

LSTM = """planform 1
use std (lstm_cell)
model net(xs: [B, T, 5], h0: [B, 4], c0: [B, 4]) {
    ys, h, c = (xs, h0, c0) -> rnn: scan(lstm_cell(), axis=1, OPTIONS)
    return (ys, h, c)
}
plan p = net()
"""
GRU = """planform 1
use std (gru_cell)
model net(xs: [T, B, 5], h0: [B, 4]) {
    ys, h = (xs, h0) -> rnn: scan(gru_cell(), axis=0, OPTIONS)
    return (ys, h)
}
plan p = net()
"""
# Unrolled; a loop over a known number of steps; one over a number that is known when it runs.
WAYS = [("unroll=16", True), ("unroll=0", True), ("reverse=false", False)]
SIZES = {"lstm": 3, "gru": 2}


def model(text: str, options: str = "reverse=false", **bindings: int) -> Model:
    made = Model(PlanFile.from_text(text.replace("OPTIONS", options)), "p", {})
    return made.at(**bindings) if bindings else made


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bound(text: str, options: str, known: bool, reverse: bool, length: int) -> nn.Module:
    options = f"{options}, reverse=true" if reverse and "reverse" not in options else options
    options = options.replace("reverse=false", "reverse=true") if reverse else options
    return model(text, options, **({"T": length} if known else {})).to_torch(dtype=torch.float64, seed=1)


def bind(ours: nn.Module, reference: nn.RNNBase) -> None:
    """Give our step the reference's weights, all of them."""
    weights = {name.removesuffix("_l0"): value for name, value in reference.state_dict().items()}
    ours.load_state_dict({f"rnn.{name}": value for name, value in weights.items()}, strict=True)


def assert_same_with_gradients(
    got: list[Tensor], wanted: list[Tensor], ours: nn.Module, reference: nn.Module
) -> None:
    for number, (a, b) in enumerate(zip(got, wanted, strict=True)):
        close(a, b, f"result {number}", 1e-10)
    for results in (got, wanted):
        torch.stack([(out * normal(*out.shape, seed=9)).sum() for out in results]).sum().backward()
    wanted_by = {name.removesuffix("_l0"): p.grad for name, p in reference.named_parameters()}
    for name, parameter in ours.named_parameters():
        expected = wanted_by[name.removeprefix("rnn.")]
        assert parameter.grad is not None and expected is not None
        close(parameter.grad, expected, f"the gradient of {name}", 1e-9)


@pytest.mark.parametrize(("options", "known"), WAYS)
@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_is_torchs(options: str, known: bool, reverse: bool) -> None:
    ours = bound(LSTM, options, known, reverse, 6)
    reference = nn.LSTM(5, 4, batch_first=True).double()
    bind(ours, reference)
    xs, h0, c0 = normal(3, 6, 5), normal(3, 4, seed=1), normal(3, 4, seed=2)
    got = list(ours(xs, h0, c0))
    ys, (h, c) = reference(xs.flip(1) if reverse else xs, (h0[None], c0[None]))
    wanted = [ys.flip(1) if reverse else ys, h[0], c[0]]
    assert_same_with_gradients(got, wanted, ours, reference)


@pytest.mark.parametrize(("options", "known"), WAYS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gru_is_torchs(options: str, known: bool, reverse: bool) -> None:
    ours = bound(GRU, options, known, reverse, 5)
    reference = nn.GRU(5, 4).double()
    bind(ours, reference)
    xs, h0 = normal(5, 2, 5), normal(2, 4, seed=1)
    got = list(ours(xs, h0))
    ys, h = reference(xs.flip(0) if reverse else xs, h0[None])
    assert_same_with_gradients(got, [ys.flip(0) if reverse else ys, h[0]], ours, reference)


def test_one_loop_runs_any_length() -> None:
    ours = model(LSTM).to_torch(dtype=torch.float64)
    reference = nn.LSTM(5, 4, batch_first=True).double()
    bind(ours, reference)
    for length in (1, 2, 23):
        xs, h0, c0 = normal(2, length, 5), normal(2, 4, seed=1), normal(2, 4, seed=2)
        ys, (h, c) = reference(xs, (h0[None], c0[None]))
        for got, wanted in zip(ours(xs, h0, c0), (ys, h[0], c[0]), strict=True):
            close(got, wanted, f"{length} steps", 1e-10)


def test_a_loop_costs_what_the_unrolled_steps_cost() -> None:
    unrolled = model(LSTM, T=6).cost(B=3).sums
    looped = model(LSTM, "unroll=0", T=6).cost(B=3).sums
    assert unrolled.cost == looped.cost
    assert unrolled.params == looped.params == 4 * 4 * (5 + 4 + 2)
    # By hand: four gates of four features read five inputs and four features, for three samples and six steps.
    assert unrolled.cost.macs == 3 * 6 * (4 * 4 * (5 + 4))
    formula = model(LSTM).cost(B=3).sums.cost
    assert str(formula.macs) == f"{looped.cost.macs // 6}*T"


def test_a_loop_has_the_step_once() -> None:
    looped = model(LSTM, "unroll=0", T=6).graph
    (scan,) = [node for node in looped.operators() if node.bodies]
    assert scan.op.name == "scan_loop"
    inside = [node.op.title for node in scan.bodies[0].operators()]
    assert inside.count("linear") == 2
    unrolled = [node.op.title for node in model(LSTM, T=6).graph.operators()]
    assert unrolled.count("linear") == 2 * 6


def test_short_lengths_are_unrolled_unless_told_otherwise() -> None:
    def loops(length: int, options: str) -> bool:
        return any(node.bodies for node in model(LSTM, options, T=length).graph.nodes)

    assert not loops(16, "reverse=false")
    assert loops(17, "reverse=false")
    assert not loops(17, "unroll=17")


NET = """planform 1
{step}
model net(xs: [B, 6, 4], h0: [B, 4]) {{
    {body}
}}
plan p = net()
"""
KEEP = "block keep(x: [B, D], h: [B, D]) { return (x, x + h) }"


def test_scan_along_a_spatial_axis_and_from_its_end() -> None:
    """A running sum, and that of what follows."""
    text = NET.format(
        step="block add_up(x: [B, D], h: [B, D]) {\n    sum_ = x + h\n    return (sum_, sum_)\n}",
        body="ys, _ = (xs, h0) -> scan(add_up(), axis=1)\n"
        "    zs, _ = (xs, h0) -> b: scan(add_up(), axis=-2, reverse=true)\n    return (ys, zs)",
    )
    ours = model(text).to_torch(dtype=torch.float64)
    xs, h0 = normal(2, 6, 4), torch.zeros(2, 4, dtype=torch.float64)
    ys, zs = ours(xs, h0)
    close(ys, xs.cumsum(1), "from the start", 1e-12)
    close(zs, xs.flip(1).cumsum(1).flip(1), "from the end", 1e-12)


def test_a_scan_without_state_maps_the_slices() -> None:
    text = NET.format(
        step="block twice(x: [B, D]) { return 2 * x }", body="return xs -> scan(twice(), axis=1)"
    )
    xs = normal(2, 6, 4)
    close(model(text).to_torch(dtype=torch.float64)(xs, normal(2, 4)), 2 * xs, "twice", 1e-12)


@pytest.mark.parametrize(
    ("step", "body", "code", "says"),
    [
        (KEEP, "return (xs, h0) -> scan(keep(), axis=3)", "E304", "there is no axis 3"),
        (KEEP, "return (xs, h0) -> scan(keep())", "E206", "axis"),
        (KEEP, "return (xs, h0) -> scan(keep(), axis=1, times=2)", "E207", "times"),
        (KEEP, "return (xs, h0) -> scan(axis=1)", "E206", "0 steps"),
        (KEEP, "return (xs, h0) -> scan(keep(), axis=1, reverse=3)", "E201", "reverse"),
        (KEEP, "return (xs, h0) -> scan(keep(), axis=1, unroll=true)", "E201", "unroll"),
        (
            "block grow(x: [B, D], h: [B, E]) { return (x, concat([h, h], axis=1)) }",
            "return (xs, h0) -> scan(grow(), axis=1)",
            "E301",
            "state 1",
        ),
        (
            "block lose(x: [B, D], h: [B, D]) { return x }",
            "return (xs, h0) -> scan(lose(), axis=1)",
            "E201",
            "a tuple of its output and 1 state",
        ),
        (
            "block extra(x: [B, D], h: [B, D]) { return (x, h, h) }",
            "return (xs, h0) -> scan(extra(), axis=1)",
            "E201",
            "3 values",
        ),
        (
            "block cast_(x: [B, D], h: [B, D]) { return (x, cast(h, f64)) }",
            "return (xs, h0) -> scan(cast_(), axis=1)",
            "E301",
            "state 1",
        ),
    ],
)
@pytest.mark.parametrize("loop", [False, True])
def test_what_is_no_scan_is_told(step: str, body: str, code: str, says: str, loop: bool) -> None:
    if loop:
        if "unroll" in body:
            return
        body = body.replace("axis=1", "axis=1, unroll=0")
    (found,) = PlanFile.from_text(NET.format(step=step, body=body)).check().diagnostics
    assert found.code == code or (loop and found.code in ("E301", "E303", "E304")), found
    assert says in found.message


def test_two_scans_of_one_step_need_labels() -> None:
    step = "block mix(x: [B, D], h: [B, D]) {\n    h = x + (h -> fc: linear(D))\n    return (h, h)\n}"
    body = "ys, h = (xs, h0) -> scan(mix(), axis=1)\n    return (ys, h) -> scan(mix(), axis=1)"
    (found,) = PlanFile.from_text(NET.format(step=step, body=body)).check().diagnostics
    assert (found.code, "mix" in found.message) == ("E402", True)


def test_steps_without_weights_need_no_labels() -> None:
    text = """planform 1
block decay(x: [B], v: [B]) {
    v = 0.5 * v + x
    return (v, v)
}
model net(x: [B, 4]) {
    zero = 0 * x[:, 0]
    y, _a = (x, zero) -> scan(decay(), axis=1)
    z, _b = (y, zero) -> scan(decay(), axis=1)
    return z
}
plan p = net()
"""
    assert PlanFile.from_text(text).check().diagnostics == ()
