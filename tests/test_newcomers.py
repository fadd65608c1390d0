"""What users of Python, PyTorch and Keras write first, and that each error says what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from planform import PlanError
from planform.api.plan_file import PlanFile

# A body of `model net(x: [B, 3, H, W])`; the code and a part of the help.
BODIES = [
    ("self.conv = conv(64, 3)", "E037", "no `self`"),
    ("x = self.conv(x)", "E101", "no `self`"),
    ("return x -> nn.Conv2d(3, 64, 3)", "E101", "no prefix"),
    ("return F.relu(x)", "E101", "no prefix"),
    ("return torch.cat([x, x], dim=1)", "E101", "no prefix"),
    ("return x -> Conv2d(64, 3)", "E101", "`conv`"),
    ("return cat(x, x)", "E101", "`concat([a, b], axis=1)`"),
    ("return x -> Dense(64)", "E101", "`linear(64)`"),
    ("return x -> Sequential([relu()])", "E101", "pipe"),
    ("return x -> conv(64, kernel_size=3)", "E207", "`kernel`"),
    ("return x -> conv(64, 3, padding=1)", "E207", "write `pad`"),
    ("return x -> conv(filters=64, kernel=3)", "E207", "write `out`"),
    ("return x -> conv(64, 3, in_channels=3)", "E207", "those of the input"),
    ('return x -> conv(64, 3, activation="relu")', "E207", "`-> relu()`"),
    ("return softmax(x, dim=1)", "E207", "write `axis`"),
    ("return x -> relu(inplace=true)", "E207", "leave it out"),
    ("return x -> conv(64, 3, bias=True)", "E101", "`true`"),
    ("y = None", "E101", "`none`"),
    ("if x is not None { x = relu(x) }\nreturn x", "E001", "`none`"),
    ("n = x.shape[0]", "E202", "`shape(x)`"),
    ("n = x.size(0)", "E202", "`shape(x)[0]`"),
    ("return x.view(B, -1)", "E202", "`reshape(x, [B, -1])`"),
    ("return x.mean(dim=1)", "E202", "`mean(x, ...)`"),
    ("return x @ x.T", "E202", "`transpose(x, -2, -1)`"),
    ("n = len(x)", "E201", "`rank(x)`"),
    ("return permute(x, 0, 2, 3, 1)", "E206", "`[0, 2, 3, 1]`"),
    ("return x -> mean(axis=[2, 3]) -> linear(3, 10)", "E201", "`out`, `bias`"),
    ("return x -> batch_norm(64)", "E201", "those of the input"),
    ("return x -> group_norm(1, 64)", "E201", "those of the input"),
    ("return conv[x, 64, 3]", "E213", "round brackets"),
    ("return conv{x, 64, 3}", "E001", "round brackets"),
    ("return relu x", "E001", "round brackets"),
    ("y = x conv(64, 3)\nreturn y", "E001", "by `->`"),
    ("y = x -> a: conv(64, 3)\n b: conv(64, 3)\nreturn y", "E034", "`-> b: ...`"),
    ("y = x => conv(64, 3)\nreturn y", "E041", "by `->`"),
    ("y = x >> conv(64, 3)\nreturn y", "E041", "by `->`"),
    ("y = x | conv(64, 3)\nreturn y", "E001", "by `->`"),
    ('return x -> f"conv{1}": conv(64, 3)', "E041", "no prefix"),
    ('name = f"conv{1}"\nreturn x', "E041", "no prefix"),
    ("y = relu(x) // a comment\nreturn y", "E001", "begin with `#`"),
    ("/* a comment */\nreturn x", "E041", "begin with `#`"),
    ('"""A comment."""\nreturn x', "E041", "begin with `#`"),
    ("y = relu(x);\nreturn y", "E008", "a line break"),
    ("y = x when true\nreturn y", "E001", "`x -> f() when c`"),
    ("if true && false { x = relu(x) }\nreturn x", "E008", "`and`"),
    ("if true || false { x = relu(x) }\nreturn x", "E041", "`or`"),
    ("y = true ? x : x\nreturn y", "E008", "`a if c else b`"),
    ("i = 1\ni++\nreturn x", "E041", "`i = i + 1`"),
    ("return x -> head.fc: linear(10)", "E042", '`"head.fc": linear(...)`'),
    ("return x -> layer1.0.conv1: conv(10, 3)", "E042", '`"layer1.0.conv1": conv(...)`'),
    ("return x -> 0: conv(10, 3)", "E042", '`"0": conv(...)`'),
    ("return x -> conv-1: conv(3, 3)", "E042", '`"conv_1": conv(...)`'),
    ("return x -> in: linear(10)", "E032", '`"in"`'),
    ("return x -> fc:\n    linear(10)", "E031", "on the line of its label"),
    ("return x -> fc = linear(10)", "E015", "`fc: linear(10)`"),
    ("for i in range(3)\n    x = relu(x)\nreturn x", "E031", "`{`"),
    ("for (i in range(3)) { x = relu(x) }\nreturn x", "E001", "without parentheses"),
    ("for i in 0..3 { x = relu(x) }\nreturn x", "E041", "`range(3)`"),
    ("let y = relu(x)\nreturn y", "E014", "`NAME = value`"),
    ("y = conv(x, **k)\nreturn x", "E041", "`*values`"),
    ("if (n := 3) > 2 { x = relu(x) }\nreturn x", "E041", "on a line of its own"),
    ('d = {"a": 1}\nreturn x', "E001", "without quotes"),
    ("return fc: linear(x, 3) + 1", "E001", "`(fc: linear(x, 3)) + 1`"),
    ("return x -> “fc”: linear(10)", "E008", "straight double quotes"),
    ("return x → relu()", "E008", "`->`"),
]

# What stands in place of the whole file after `planform 1`.
FILES = [
    ("fn net(x: [B, 3]) { return x }", "E014", "`block NAME("),
    ("network net { }", "E014", "`model NAME("),
    ("let K = 3", "E014", "`NAME = value`"),
    ("const K = 3", "E035", "`K = 3`"),
    ("use std squeeze_excite", "E001", "`use std (NAME)`"),
    ("use std (*)", "E001", "written out"),
    ("use std (mlp as m)", "E001", "keeps its name"),
    ("model net(x) {\n return x\n}\nplan p = net()", "E206", "`x: [B, C, H, W]`"),
    ("model net {\n}", "E001", "in parentheses"),
    ("model net(x: (B, 3, H, W)) {\n return x\n}", "E001", "square brackets"),
    ("block f(x: Tensor[B, 3]) {\n return x\n}", "E027", "`[B, C, H, W]`"),
    ("block f(x: [B], n: string) {\n return x\n}", "E027", "`str`"),
    ("block f(x: [B], n: List[int] = [1]) {\n return x\n}", "E027", "`list[T]`"),
    ("block f(x: [B], n: Optional[int] = none) {\n return x\n}", "E027", "`T | none`"),
    ("block f(*xs) {\n return xs\n}", "E001", "`xs: list[tensor]`"),
    ("plan = net()", "E032", "`plan NAME = model(...)`"),
    ("plan p: net()", "E001", "`plan NAME = model(...)`"),
    ("@jit\nmodel net(x: [B]) {\n return x\n}", "E041", "no decorators"),
    ("table t {\n | a | b |\n | 1 | 2 |\n}", "E001", "not around them"),
    ("table t {\n a | b\n --- | ---\n 1 | 2\n}", "E001", "no line stands"),
    ("table t {\n a | b\n 1 |\n}", "E031", "`none`"),
]


def the_error(folder: Path, text: str, code: str, help: str) -> None:
    (folder / "pyproject.toml").touch()
    (folder / "net.plan").write_text(text, encoding="utf-8")
    try:
        found = PlanFile(folder / "net.plan").check().diagnostics
    except PlanError as error:
        found = error.diagnostics
    assert found[0].code == code, found
    assert help in " ".join(found[0].help), found[0]


@pytest.mark.parametrize(("body", "code", "help"), BODIES)
def test_a_first_mistake_in_a_body_is_answered(body: str, code: str, help: str, tmp_path: Path) -> None:
    the_error(
        tmp_path, f"planform 1\nmodel net(x: [B, 3, H, W]) {{\n{body}\n}}\nplan p = net()\n", code, help
    )


@pytest.mark.parametrize(("text", "code", "help"), FILES)
def test_a_first_mistake_at_the_top_is_answered(text: str, code: str, help: str, tmp_path: Path) -> None:
    the_error(tmp_path, f"planform 1\n{text}\n", code, help)


def test_a_bracket_that_comes_too_early_closes_its_own(tmp_path: Path) -> None:
    (tmp_path / "net.plan").write_text("planform 1\nK = (1 + )\n", encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        PlanFile(tmp_path / "net.plan")
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("E001", "`)` cannot stand here; expected a value")


def test_a_slice_is_not_taken_for_a_label(tmp_path: Path) -> None:
    text = "planform 1\nmodel net(x: [B, 8]) {\n    return x[0:min(B, 3) + ]\n}\n"
    (tmp_path / "net.plan").write_text(text, encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        PlanFile(tmp_path / "net.plan")
    assert [found.code for found in caught.value.diagnostics] == ["E001"]
