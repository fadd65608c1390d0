"""Initialisers: bad arguments are diagnostics of `check`, and what is drawn is what torch.nn.init draws."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import planform
from planform.backends.torch import emit_source
from planform.cli.app import run
from planform.compiler.ops.core.init import INITIALISERS, parameters
from planform.dsl.diagnostics import PlanError

_BAD = (
    *('"abc"', '""', "true", "none", "[1]", "{a = 1}", "f32", "zeros()", "-1", "-1e-9", "0", "1e38", "-1e38"),
    *("1e39", "1e300", "-1e300", "9000000000000000000", "1.5", "1e-300", "3"),
)


def _model(init: str, declaration: str = "param w: [6, 4]") -> planform.Model:
    text = f"planform 1\nmodel net(x: [B, 4]) {{\n    {declaration} = {init}\n    return x * mean(w)\n}}\nplan p = net()\n"
    return planform.Model(planform.PlanFile.from_text(text), "p", {})


def _fills(model: planform.Model) -> list[str]:
    """The codes of what `check` finds; where it finds nothing, torch and emitted source fill the weight."""
    found = model.check()
    if not found.ok:
        assert all(each.primary.span.text for each in found.diagnostics)
        return [each.code for each in found.diagnostics]
    model.to_torch(seed=0, dtype=torch.float16)  # what f16 holds, f32 holds too
    space: dict[str, Any] = {}
    exec(emit_source(model.program), space)
    space["P"]()
    return []


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize("name", INITIALISERS)
def test_what_check_lets_pass_can_be_drawn(name: str) -> None:
    calls = [f"{name}({value})" for value in _BAD]
    calls += [f"{name}({key}={value})" for key in parameters(name) for value in _BAD]
    calls += [f"{name}({', '.join(pair)})" for pair in itertools.product(("2", "-2", "0.5"), repeat=2)]
    calls += [f"{name}(low=1, high={high})" for high in ("1", "0.5", "-3")]
    calls += [f"{name}(1, 1, 1, 1, 1)", f"{name}(unknown=1)"]
    codes = {code for call in calls for code in _fills(_model(call))}
    assert codes <= {"E201", "E206", "E207", "E208", "E214", "E302", "E408", "E409", "E305"}


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize(
    "declaration", ["param w: [6]", "param w: []", "param w: [2, 3, 4]", "param w: [0, 0]"]
)
@pytest.mark.parametrize("kind", ["", "i64", "u8", "bool", "c64", "f16", "bf16", "f64"])
def test_every_shape_and_type_is_filled_or_refused(declaration: str, kind: str) -> None:
    declaration = declaration.replace("w: ", f"w: {kind}")
    text = "planform 1\nmodel net(x: [B, 4]) {{\n    {} = {}\n    return x, w\n}}\nplan p = net()\n"
    for name in INITIALISERS:
        call = f"{name}({2.0 if name == 'constant' else ''})"
        model = planform.Model(planform.PlanFile.from_text(text.format(declaration, call)), "p", {})
        _fills(model)


@pytest.mark.parametrize(
    ("call", "code", "help"),
    [
        ('normal(std="abc")', "E201", '`std` of `normal` must be a number between 0 and 1e37, and is "abc"'),
        ("normal(std=-1)", "E201", "`std` of `normal` must be a number between 0 and 1e37, and is -1"),
        (
            "uniform(low=2, high=1)",
            "E201",
            "`high` of `uniform` must be at least `low`, which is 2, and is 1",
        ),
        ("uniform(low=3)", "E201", "`low` of `uniform` must be at most `high`, which is 1.0, and is 3"),
        ("normal(1, 0, 3)", "E206", "`normal` takes 2 arguments, and 3 are given"),
        ("constant()", "E206", "`constant` takes `value`, and is given none"),
        ("normal(sdt=1)", "E207", "`normal` has no parameter `sdt`"),
        ('kaiming_normal(mode="fan")', "E201", '`mode` of `kaiming_normal` must be "fan_in" or "fan_out"'),
    ],
)
def test_bad_arguments_are_named(call: str, code: str, help: str) -> None:
    with pytest.raises(PlanError) as error:
        _ = _model(call).program
    (found,) = error.value.diagnostics
    assert found.code == code and help in found.message
    assert found.help or code == "E206"
    assert found.primary.span.text in call


def test_all_faces_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.plan"
    for init in ('normal(std="abc")', "trunc_normal(std=0)", 'kaiming_uniform(nonlinearity="gelu")'):
        path.write_text(
            f"planform 1\nmodel net(x: [B, 4]) {{\n    return x -> fc: linear(4, init={init})\n}}\nplan p = net()\n"
        )
        for words in (["check"], ["run"], ["compile"], ["cost"], ["compile", "--to", "tvm"], ["deploy"]):
            assert run([words[0], str(path), *words[1:]]) == 1
            assert "E201" in capsys.readouterr().err


# What each draws, by torch's own functions with the same seed.
_DRAWS = {
    "zeros()": nn.init.zeros_,
    "ones()": nn.init.ones_,
    "constant(0.3)": lambda w: nn.init.constant_(w, 0.3),
    "normal(0.5, 2)": lambda w: nn.init.normal_(w, 2.0, 0.5),
    "uniform(-3, 5)": lambda w: nn.init.uniform_(w, -3.0, 5.0),
    "trunc_normal(0.5, low=-0.3, high=0.7)": lambda w: nn.init.trunc_normal_(w, 0.0, 0.5, -0.3, 0.7),
    'kaiming_uniform(0.2, mode="fan_out")': lambda w: nn.init.kaiming_uniform_(w, 0.2, "fan_out"),
    'kaiming_normal(nonlinearity="relu")': lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier_uniform(2)": lambda w: nn.init.xavier_uniform_(w, 2.0),
    "xavier_normal(0.5)": lambda w: nn.init.xavier_normal_(w, 0.5),
    "orthogonal(1.5)": lambda w: nn.init.orthogonal_(w, 1.5),
    "identity_map()": nn.init.eye_,
    "fan_in_uniform()": lambda w: nn.init.kaiming_uniform_(w, a=5**0.5),
    "fan_in_uniform(16)": lambda w: nn.init.uniform_(w, -0.25, 0.25),
}


@pytest.mark.parametrize("call", _DRAWS)
def test_draws_are_those_of_torch(call: str) -> None:
    model = _model(call)
    torch.manual_seed(3)
    wanted = _DRAWS[call](torch.empty(6, 4))
    torch.testing.assert_close(model.to_torch(seed=3).w.data, wanted)
    space: dict[str, Any] = {}
    exec(emit_source(model.program), space)
    torch.manual_seed(3)
    torch.testing.assert_close(space["P"]().w.data, wanted)


def test_each_initialiser_is_compared_with_torch() -> None:
    assert {call.partition("(")[0] for call in _DRAWS} == set(INITIALISERS)


@pytest.mark.parametrize("row", [0, 2, -1])
def test_the_padding_row_of_an_embedding_is_zero(row: int) -> None:
    text = (
        "planform 1\nmodel net(x: i64[B]) {\n"
        f"    return x -> emb: embedding(5, 3, padding_idx={row})\n}}\nplan p = net()\n"
    )
    model = planform.Model(planform.PlanFile.from_text(text), "p", {})
    space: dict[str, Any] = {}
    exec(emit_source(model.program), space)
    for module in (model.to_torch(seed=1), space["P"]()):
        zero = (module.emb.weight == 0).all(dim=1)
        assert zero.nonzero().flatten().tolist() == [row % 5]


def test_large_integers_are_kept() -> None:
    model = _model("constant(9007199254740993)", "buffer w: i64[2]")
    with pytest.raises(PlanError):  # a mean of integers is refused; the buffer alone is fine
        _ = model.program
    text = "planform 1\nmodel net(x: [B]) {\n    buffer w: i64[2] = constant(9007199254740993)\n    return x, w\n}\nplan p = net()\n"
    made = planform.Model(planform.PlanFile.from_text(text), "p", {})
    assert made.to_torch().w.tolist() == [9007199254740993] * 2
    space: dict[str, Any] = {}
    exec(emit_source(made.program), space)
    assert space["P"]().w.tolist() == [9007199254740993] * 2
