"""Every code of the table is fired by its own bad inputs, and alone: one root cause, one error."""

from __future__ import annotations

from pathlib import Path

import pytest

from planform import PlanError
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.dsl import limits
from planform.dsl.codes import CODES
from planform.dsl.diagnostics import Diagnostic
from planform.dsl.render import render, to_json


def diagnostics(folder: Path, text: str, ask: str | None = None) -> tuple[Diagnostic, ...]:
    """All diagnostics of a file, as `planform check` finds them."""
    (folder / "pyproject.toml").touch()
    (folder / "net.plan").write_text(text, encoding="utf-8")
    try:
        file = PlanFile(folder / "net.plan")
        if ask is not None:
            file.plan(ask)
        return file.check().diagnostics
    except PlanError as error:
        return error.diagnostics


@pytest.mark.parametrize("code", [code for code in sorted(CODES) if not code.startswith("E7")])
def test_every_code_is_fired_by_its_bad_inputs(code: str, tmp_path: Path) -> None:
    row = CODES[code]
    assert row.bad, f"{code} has no bad input"
    for name, text in row.beside:
        (tmp_path / name).write_text(text, encoding="utf-8")
    for text in row.bad:
        found = diagnostics(tmp_path, text, row.ask)
        assert [d.code for d in found] == [code], "\n".join(render(d) for d in found)
        assert found[0].message
        assert to_json(found[0])["line"] >= 1


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_explained(code: str) -> None:
    assert len(CODES[code].explanation) > 20
    assert CODES[code].explanation.endswith(".")


BROKEN = """planform 1
block bottleneck(x: [B, C, H, W], width: int, stride: int = 1) {
    y = x -> conv1: conv(width, 1) -> relu()
          -> conv3: conv(2 * width, 1)
    skip = x -> "downsample.0": conv(4 * width, 1, stride=stride)
    return relu(y + skip)
}
model net(image: [B, 3, H, W], classes: int = 10) {
    x = image -> stem: conv(64, 1)
    for i in range(3) {
        x = x -> "layer{i}": bottleneck(64 * 2**i)
    }
    return x -> global_avg_pool() -> fc: linear(clases)
}
plan p = net()
"""


def test_a_mismatch_shows_both_sizes_and_where_they_came_from(tmp_path: Path) -> None:
    shape, _ = diagnostics(tmp_path, BROKEN)
    assert shape.code == "E301"
    assert shape.message == "`bottleneck` adds two tensors whose sizes of axis 1 differ: 128 and 256"
    assert shape.primary.span.text == "y + skip"
    assert shape.primary.text == "y: [B, 128, H, W]   skip: [B, 256, H, W]"
    texts = [label.text for label in shape.secondary]
    assert texts[0].startswith("128 = 2 * width, with width = 64 (from ")
    assert texts[1].startswith("256 = 4 * width, with width = 64 (from ")
    assert any("in layer0, called at" in note for note in shape.notes)


def test_independent_errors_are_reported_in_one_run_and_a_loop_reports_once(tmp_path: Path) -> None:
    found = diagnostics(tmp_path, BROKEN)
    assert [d.code for d in found] == ["E301", "E101"]
    assert found[1].help == ("did you mean `classes`?",)


def test_a_wrong_declaration_does_not_hide_what_else_is_wrong_nor_repeat_itself(tmp_path: Path) -> None:
    text = (
        "planform 1\nuse std (self_atention)\nmodel net(x: [B, N, 8], width: int = 4) {\n"
        "    y = x -> attn: self_atention(2)\n    return (y, x -> fc: linear(widht))\n}\n"
        "plan a = net()\nplan b = net(wide=3)\nplan c = b()\nclaim b: params == 3\n"
    )
    found = diagnostics(tmp_path, text)
    assert [d.code for d in found] == ["E106", "E207", "E101"]


def test_names_of_torch_are_met_with_ours(tmp_path: Path) -> None:
    for wrong, right in (("Conv2d", "conv"), ("BatchNorm2d", "batch_norm"), ("ReLU", "relu")):
        text = f"planform 1\nmodel net(x: [B, 8, H, W]) {{\n    return x -> {wrong}()\n}}\nplan p = net()\n"
        (found,) = diagnostics(tmp_path, text)
        assert found.code == "E101" and f"`{right}`" in found.help[0]


def test_an_unknown_argument_is_shown_by_its_name(tmp_path: Path) -> None:
    text = "planform 1\nmodel net(x: [B, 8, H, W]) {\n    return x -> conv(8, kernel_size=3)\n}\nplan p = net()\n"
    (found,) = diagnostics(tmp_path, text)
    assert found.code == "E207" and found.primary.span.text == "kernel_size"


def test_the_limit_of_work_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WORK", 5000)
    loops = "for i in range(100) {\n for j in range(100) {\n y = i * j\n }\n }\n"
    text = f"planform 1\nmodel net(x: [B, 8]) {{\n {loops}{loops} return x\n}}\nplan p = net()\n"
    assert [found.code for found in diagnostics(tmp_path, text)] == ["E205"]


def test_weights_are_bounded_as_tensors_are(tmp_path: Path) -> None:
    text = (
        "planform 1\nmodel net(x: [B, 3]) {\n"
        "    return x -> up: linear(10**9) -> down: linear(10**9)\n}\nplan p = net()\n"
    )
    (found,) = diagnostics(tmp_path, text)
    assert found.code == "E205" and "`down.weight`" in found.message


def test_a_claim_about_a_label_that_is_not_there(tmp_path: Path) -> None:
    text = (
        "planform 1\nmodel net(x: [B, 3]) {\n    return x -> fc: linear(4)\n}\nplan p = net()\n"
        'claim p: shape("fx") at (B=1) == [1, 4]\n'
    )
    (found,) = diagnostics(tmp_path, text)
    assert found.message == "the figure cannot be derived: no call has the label `fx`"


def test_plans_and_claims_of_a_wrong_constant_are_silent(tmp_path: Path) -> None:
    text = (
        "planform 1\nWIDTH = 8 // 0\nmodel net(x: [B, 8]) {\n    return x -> fc: linear(WIDTH)\n}\nplan p = net()\n"
        "claim p: params == 3\nclaim p: macs at (B=1) == 3\n"
    )
    assert [d.code for d in diagnostics(tmp_path, text)] == ["E202"]
    with pytest.raises(PlanError) as caught:
        _ = Model(PlanFile(tmp_path / "net.plan"), "p", {}).graph
    assert [d.code for d in caught.value.diagnostics] == ["E202"]


def test_a_name_that_is_not_known_within_a_claimed_list(tmp_path: Path) -> None:
    text = "planform 1\nmodel net(x: [B, 8]) {\n    return relu(x)\n}\nplan p = net()\nclaim p: shape at (B=1) == [1, wide]\n"
    (found,) = diagnostics(tmp_path, text)
    assert "wide" in found.message and found.primary.span.text == "wide"


def test_a_claimed_list_of_a_wrong_constant_is_silent(tmp_path: Path) -> None:
    text = (
        "planform 1\nWIDTH = 8 // 0\nmodel net(x: [B, 8]) {\n    return relu(x)\n}\nplan p = net()\n"
        "claim p: shape at (B=1) == [1, WIDTH]\n"
    )
    assert [d.code for d in diagnostics(tmp_path, text)] == ["E202"]


@pytest.mark.parametrize(
    "declaration",
    [
        "K = [1, wide]",
        "K = 1 + wide",
        "K = max(1, wide)",
        "K = {a = wide}",
        "table K {\n    a | b\n    1 | [2, wide]\n}",
        "plan K = net(depths=[1, wide])",
        "about {\n    title = [wide]\n}",
    ],
)
def test_what_is_wrong_within_a_declaration_of_the_file_is_reported(declaration: str, tmp_path: Path) -> None:
    text = (
        "planform 1\nmodel net(x: [B, 8], depths: list[int] = [1]) {\n    return x -> fc: linear(4)\n}\n"
        f"plan p = net()\nclaim p: params == 36\n{declaration}\n"
    )
    (found,) = diagnostics(tmp_path, text)
    assert found.code == "E101" and found.primary.span.text == "wide"


def test_a_claim_about_a_plan_over_a_wrong_table_is_silent(tmp_path: Path) -> None:
    text = (
        "planform 1\ntable t {\n    a | b\n    1 | [1, wide]\n}\n"
        "model net(x: [B, 8]) {\n    for row in t { x = relu(x) }\n    return x\n}\nplan p = net()\nclaim p: params == 0\n"
    )
    assert [d.code for d in diagnostics(tmp_path, text)] == ["E101"]
