"""What plans ask of unbound sizes: one form for each size, what is left for run time, and what cannot be."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import planform
from planform.api.plan_file import PlanFile
from planform.backends.torch import InputError
from planform.cli.check import check as check_command
from planform.compiler.cost import cost
from planform.compiler.ops.join import Slice
from planform.compiler.sizes.dims import (
    Assumptions,
    assuming,
    ceil_div,
    contradictory,
    equal,
    evaluate,
    holds,
    render,
    simplified,
    symbol,
)
from planform.compiler.sizes.guards import Contradiction, Guard, conflicting
from planform.compiler.types import TensorType

H, W, B = (symbol(name) for name in "HWB")

WINDOWS = """planform 1
block windows(x: [B, C, H, W], n: int) {
    bottom = -H % n
    right = -W % n
    y = x -> pad([0, right, 0, bottom]) -> rearrange("b c (h i) (w j) -> (b h w) (i j) c", i=n, j=n)
    y = y -> mix: linear(C)
    y = y -> rearrange("(b h w) (i j) c -> b c (h i) (w j)", b=B, h=(H + bottom) // n, i=n, j=n)
    return x + y[:, :, :H, :W]
}
block stage(x: [B, C, H, W], width: int, stride: int) {
    y = x -> pad([0, -W % stride, 0, -H % stride]) -> merge: conv(width, stride, stride=stride)
    return y -> window: windows(7)
}
model net(x: [B, 3, H, W]) {
    return x -> s1: stage(32, 4) -> s2: stage(64, 2) -> s3: stage(128, 2) -> s4: stage(256, 2)
}
plan p = net()
"""

UNET = """planform 1
block down(x: [B, C, H, W], width: int) {
    return x -> pad([0, -W % 2, 0, -H % 2]) -> max_pool(2, stride=2) -> c: conv(width, 3, pad=1) -> relu()
}
block up(x: [B, C, H, W], skip: [B, D, P, Q], width: int) {
    y = x -> resize(scale=2)
    return concat([y[:, :, :P, :Q], skip], axis=1) -> c: conv(width, 3, pad=1) -> relu()
}
model net(x: [B, 3, H, W]) {
    a = x -> a: conv(8, 3, pad=1)
    b = a -> b: down(16)
    c = b -> c: down(32)
    d = c -> d: down(64)
    e = d -> e: down(64)
    y = up(e, d, 64)
    y = y -> up2: up(c, 32)
    y = y -> up3: up(b, 16)
    return a + (y -> up4: up(a, 8))
}
plan p = net()
"""


def file_of(text: str) -> PlanFile:
    return PlanFile.from_text(text, "net.plan")


def net(body: str, inputs: str = "x: [B, H, W]") -> PlanFile:
    return file_of(f"planform 1\nmodel net({inputs}) {{\n    {body}\n}}\nplan p = net()\n")


def guards(file: PlanFile, mode: Any = "eval") -> list[str]:
    return [str(guard) for guard in file.program("p").graphs[mode].guards]


# --- networks that pad ---


@pytest.mark.parametrize(
    ("text", "result"), [(WINDOWS, "[B, 256, (H + 31)//32, (W + 31)//32]"), (UNET, "[B, 8, H, W]")]
)
def test_a_network_that_pads_has_short_sizes_soon(text: str, result: str) -> None:
    start = time.thread_time()
    graph = file_of(text).program("p", None, None, ("eval",)).graph
    report = cost(graph, {})
    figures = [render(size) for size in (report.macs(), report.flops(), report.activations("all"))]
    assert time.thread_time() - start < 5  # about half a second; it was 15, and a minute for larger ones
    assert str(graph.outputs[0].type) == result
    assert max(len(str(value.type)) for node in graph.nodes for value in node.results) < 80
    assert max(map(len, figures)) < 800
    assert not graph.guards


@pytest.mark.parametrize("text", [WINDOWS, UNET], ids=["windows", "unet"])
def test_a_network_that_pads_has_the_sizes_that_torch_gives(text: str) -> None:
    file = file_of(text)
    module = planform.api.model.Model(file, "p", {}).to_torch().eval()
    (output,) = file.program("p").graph.outputs
    for height, width in [(1, 1), (7, 33), (56, 30), (65, 28)]:
        given = torch.randn(2, 3, height, width)
        sizes = {"B": 2, "H": height, "W": width}
        assert list(module(given).shape) == [evaluate(size, sizes) for size in output.shape]


def test_what_is_padded_to_a_multiple_is_one() -> None:
    for n in (2, 3, 4, 7, 32):
        assert H + -H % n == n * ceil_div(H, n)
        assert (H + -H % n) // n == ceil_div(H, n)
        assert render(-H % n) in (f"(-H)%{n}", f"H%{n}")


# --- slices ---

ENDS = [None, *range(-4, 5)]


def test_a_slice_is_as_long_as_that_of_a_list() -> None:
    length = symbol("L", 0)
    for start, stop, step in itertools.product(ENDS, ENDS, (1, 2, 3)):
        op = Slice(axis=0, start=start, stop=stop, step=step)
        ((free,), _) = op.infer((TensorType((length,)),), ("x",))
        for n in range(9):
            wanted = len(range(n)[slice(start, stop, step)])
            ((bound,), _) = op.infer((TensorType((n,)),), ("x",))
            assert bound.shape == (wanted,)
            assert evaluate(free.shape[0], {"L": n}) == wanted


def test_the_last_element_is_one() -> None:
    file = net("place = arange(1, H // 8 + 1)\n    return place / (place[-1:] + 1e-6)")
    assert guards(file) == ["H >= 8"]
    assert str(file.program("p").graph.outputs[0].type) == "[H//8]"
    module = planform.api.model.Model(file, "p", {}).to_torch()
    torch.testing.assert_close(module(torch.zeros(1, 24, 2)), torch.tensor([1.0, 2, 3]) / (3 + 1e-6))
    with pytest.raises(InputError, match="H must be at least 8, and here H = 7"):
        module(torch.zeros(1, 7, 2))


# --- what was asked counts as given ---


def test_a_multiple_loses_its_floors() -> None:
    body = "require H % 32 == 0\n    require W % 8 == 1"
    graph = (
        net(
            body + "\n    y = x -> c: conv(4, 7, stride=4, pad=3) -> d: conv(4, 3, stride=2, pad=1)"
            "\n    return y -> resize(scale=8)",
            "x: [B, 3, H, W]",
        )
        .program("p")
        .graph
    )
    shapes = [str(node.results[0].type) for node in graph.nodes if node.op.name in ("conv_with", "resize")]
    assert shapes == ["[B, 4, H//4, (W + 3)//4]", "[B, 4, H//8, (W + 7)//8]", "[B, 4, H, W + 7]"]


def test_what_follows_from_a_guard_is_not_asked_again() -> None:
    pool = 'y = x -> max_pool(8, stride=8) -> rearrange("b c h w -> b (h w) c")'
    file = net(f'{pool}\n    return y -> rearrange("b (h w) c -> b c h w", h=H // 8)', "x: [B, 3, H, W]")
    assert guards(file) == ["H >= 8", "W >= 8"]
    assert str(file.program("p").graph.outputs[0].type) == "[B, 3, H//8, W//8]"
    same = equal((W + 15) // 16, planform.compiler.sizes.dims.minimum(7 * ((W + 111) // 112), (W + 15) // 16))
    assert same is True


def test_the_guards_of_a_network_of_the_atlas_are_those_that_are_needed() -> None:
    graph = planform.load("msvmamba_nano").graph
    needed = ["H >= 4", "W >= 4"]
    needed += [f"({size}//{n}) % 2 == 0" for n in (4, 8, 16) for size in "HW"]
    assert [str(guard) for guard in graph.guards] == needed


# --- contradictions ---


@pytest.mark.parametrize(
    ("body", "needed"),
    [
        (
            'y = x -> rearrange("b d h w -> b (h w) d") -> norm: layer_norm()\n    return x + y',
            "`W == 32` and `H == H*W`",
        ),
        ("require H > W\n    require W > H\n    return x", "`H >= W + 1` and `W >= H + 1`"),
        ("require H % 4 == 0\n    require H % 6 == 3\n    return x", "`H % 4 == 0` and `H%6 == 3`"),
        ("require H * W == 7\n    require H == 2\n    return x", "`H*W == 7` and `H == 2`"),
        ("require 2 * H == W\n    require W % 2 == 1\n    return x", "`2*H == W` and"),
    ],
)
def test_sizes_that_contradict_each_other_are_an_error(body: str, needed: str) -> None:
    with pytest.raises(planform.PlanError) as caught:
        net(body, "x: [B, 32, H, W]").program("p")
    found = caught.value.diagnostics[0]
    assert found.code == "E307" and found.message.startswith(f"no sizes satisfy {needed}")
    assert found.secondary or found.notes  # where the other one is


def test_both_places_of_a_contradiction_are_shown() -> None:
    report = net("y = x -> max_pool(3)\n    require H == 2\n    return y", "x: [B, 32, H, W]").check()
    (found,) = report.diagnostics
    assert [found.primary.span.line, *[label.span.line for label in found.secondary]] == [4, 3]


relations = st.tuples(
    st.sampled_from(["==", ">=", "%"]),
    st.sampled_from([H, W, H + W, H * W, H // 2, 2 * H, W // 3, H - W, 3 * W + 1, H * W - H]),
    st.sampled_from([1, 2, 3, 5, H, W, W + 1, 2 * W, H // 3]),
)


def _true(relation: str, left: Any, right: Any, point: dict[str, int]) -> bool:
    a, b = evaluate(left, point), evaluate(right, point)
    return {"==": a == b, ">=": a >= b, "%": b != 0 and a % (b or 1) == 0}[relation]


@settings(max_examples=250)
@given(st.lists(relations, min_size=1, max_size=4))
def test_no_satisfiable_guards_are_refused(found: list[tuple[str, Any, Any]]) -> None:
    points = [{"H": h, "W": w} for h in range(1, 13) for w in range(1, 13)]
    witness = next((p for p in points if all(_true(*each, p) for each in found)), None)
    facts = Assumptions()
    for each in found:
        facts.assume(*each)
    with assuming(facts):
        refused = contradictory()
    assert witness is None or not refused
    *others, last = [Guard(*each, "") for each in found]
    blamed = conflicting(others, last)
    assert witness is None or blamed is None
    if blamed:  # what is blamed is a contradiction by itself
        assert not any(all(_true(g.relation, g.left, g.right, p) for g in (*blamed, last)) for p in points)


@settings(max_examples=200)
@given(st.lists(relations, min_size=1, max_size=3), relations)
def test_what_guards_prove_holds_wherever_they_do(
    found: list[tuple[str, Any, Any]], question: tuple[str, Any, Any]
) -> None:
    facts = Assumptions()
    for each in found:
        facts.assume(*each)
    with assuming(facts):
        verdict, shorter = holds(*question), simplified(question[1])
    for h, w in itertools.product(range(1, 17), range(1, 17)):
        point = {"H": h, "W": w}
        if all(_true(*each, point) for each in found):
            if evaluate(question[2], point) or question[0] != "%":
                assert verdict in (None, _true(*question, point))
            assert evaluate(shorter, point) == evaluate(question[1], point)


def test_a_contradiction_is_one_to_python_too() -> None:
    guard = Guard(">=", H, 3, "tall")
    error = Contradiction(guard, (Guard("==", H, 2, "two"),))
    assert str(error) == "H >= 3 contradicts H == 2"


def test_a_reading_that_does_not_fit_asks_nothing() -> None:
    text = """planform 1
block either(x: [N, 3, 4] | [*S]) {
    return x + 1
}
model net(x: [H, W, 3]) {
    return x -> either()
}
plan p = net()
"""
    assert guards(file_of(text)) == []


# --- listed and warned of ---


def test_check_lists_what_is_left(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "net.plan"
    path.write_text(
        'planform 1\nmodel net(x: [B, 8, H, W]) {\n    require H % 4 == 0, "rows of four"\n'
        "    return x + transpose(x, 2, 3)\n}\nplan p = net()\n",
        encoding="utf-8",
    )
    with pytest.raises(SystemExit) as ended:
        check_command([str(path)])
    shown = capsys.readouterr()
    assert ended.value.code == 0
    assert f"  needs H % 4 == 0 (rows of four, {path}:3)" in shown.out
    assert f"  needs W == H (sizes of axis 3, {path}:4)" in shown.out
    assert "warning[W906]: `p` runs only where `W == H`" in shown.err and "H % 4" not in shown.err
    with pytest.raises(SystemExit):
        check_command([str(path)], json=True)
    needs = json.loads(capsys.readouterr().out)["needs"]
    assert [(need["guard"], need["modes"], need["line"]) for need in needs] == [
        ("H % 4 == 0", ["eval", "train"], 3),
        ("W == H", ["eval", "train"], 4),
    ]
    assert needs[0]["left"] == "H" and needs[0]["right"] == 4


@pytest.mark.parametrize(
    ("body", "warned"),
    [
        ("return x + transpose(x, 1, 2)", ["W == H"]),
        ("require H == W\n    return x + transpose(x, 1, 2)", []),
        ("return reshape(x, [B * H, W]) -> reshape([4, H * B // 4, W])", ["B*H*W == 4*((B*H)//4)*W"]),
        ("return x -> rearrange('(b t) h w -> b t h w', t=8)", ["B % 8 == 0"]),
        ("return x + ones([1, 1, 5])", ["W == 5"]),
        ("return x -> rearrange('b (h i) w -> b h i w', i=4)", []),
    ],
)
def test_what_hardly_was_meant_is_a_warning(body: str, warned: list[str]) -> None:
    report = net(body.replace("'", '"')).check()
    assert [d.message.split("where ")[1].strip("`") for d in report.diagnostics] == warned
    assert {d.code for d in report.diagnostics} <= {"W906"} and report.ok


def test_sizes_that_are_not_bound_are_named() -> None:
    with pytest.raises(planform.PlanError, match="depends on the unbound sizes `H` and `W`"):
        net("return x -> reshape([B, H * W]) -> linear(4)").program("p")
    with pytest.raises(planform.PlanError, match="depends on the unbound size `W`"):
        net("return x -> linear(4)").program("p")


# --- emitted source ---


def test_emitted_source_checks_what_the_plan_asks() -> None:
    text = """planform 1
model net(x: [B, 3, H, W]) {
    require H % 8 == 0, "rows of eight"
    y = x -> max_pool(8, stride=8) -> c: conv(4, 1) -> n: batch_norm()
    return y -> rearrange("b c h (w i) -> b c (h i) w", i=2)
}
plan p = net()
"""
    model = planform.api.model.Model(file_of(text), "p", {})
    scope: dict[str, Any] = {}
    exec(compile(model.to_source(), "net.py", "exec"), scope)
    module = scope["P"]()
    assert module.eval()(torch.zeros(1, 3, 16, 32)).shape == (1, 4, 4, 2)
    for shape, message in [
        ((1, 3, 12, 32), "rows of eight: H must be a multiple of 8"),
        ((1, 3, 16, 7), "W must be at least 8"),
        ((1, 3, 16, 24), "W//8 must be a multiple of 2"),
    ]:
        with pytest.raises(AssertionError, match=message):
            module(torch.zeros(shape))
        with pytest.raises(InputError, match=message):
            model.to_torch().eval()(torch.zeros(shape))
    exported = torch.export.export(module, (torch.zeros(2, 3, 16, 32),))
    assert exported.module()(torch.zeros(2, 3, 16, 32)).shape == (2, 4, 4, 2)
    deployed: dict[str, Any] = {}
    exec(compile(model.to_source("deploy"), "deployed.py", "exec"), deployed)
    with pytest.raises(AssertionError, match="rows of eight"):
        deployed["P"]()(torch.zeros(1, 3, 12, 32))


def test_guards_of_one_mode_are_checked_in_that_mode() -> None:
    file = net("return x -> c: conv(4, 1) -> n: batch_norm()", "x: [B, 3, H, W]")
    scope: dict[str, Any] = {}
    exec(compile(planform.api.model.Model(file, "p", {}).to_source(), "net.py", "exec"), scope)
    module = scope["P"]()
    assert module.eval()(torch.zeros(1, 3, 1, 1)).shape == (1, 4, 1, 1)
    with pytest.raises(AssertionError, match="the number of values of a channel"):
        module.train()(torch.zeros(1, 3, 1, 1))


# --- time ---

CHAINS = {
    "order": "require S{i} >= S{j} + {i}",
    "floor": "require S{i} == S{j} // 2 + {i}",
    "product": "require S{i} * S{j} % {i} == 0",
    "remainder": "require (S{i} + S{j}) % ({i} + 1) == 1",
    "bounds": "require 3 * S{i} >= 2 * S{j}",
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_fifty_requirements_take_no_time(chain: str) -> None:
    inputs = ", ".join(f"x{i}: [S{i}]" for i in range(50))
    body = "\n    ".join(chain.format(i=i, j=i + 1) for i in range(1, 49))
    start = time.thread_time()
    try:
        net(f"{body}\n    return x0", inputs).program("p", None, None, ("eval",))
    except planform.PlanError as error:
        assert error.diagnostics[0].code == "E307"
    assert time.thread_time() - start < 5


def test_a_size_that_grows_ends_in_a_diagnostic() -> None:
    start = time.thread_time()
    report = net(
        "n = 1\n    for i in range(20) { n = (n * (i + 3) + B) % (i + 7) }\n    require n == 3\n    return x"
    ).check()
    assert [d.code for d in report.diagnostics] == ["E204"]
    assert time.thread_time() - start < 5
