"""Names and texts of plans that mean something elsewhere: every output takes them, and none acts upon them."""

from __future__ import annotations

import ast
import json
import keyword
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import planform
from planform.backends.torch import emit_source
from planform.cli.app import run
from planform.compiler import names
from planform.compiler.drawing.draw import Box, Picture, to_dot
from planform.compiler.drawing.svg import to_svg
from planform.dsl.labels import RESERVED
from planform.reports.cost import cost_html

_LANGUAGE = {"if", "else", "for", "in", "is", "and", "or", "not", "when", "true", "false", "none"}
# Keywords, what generated code calls, what modules, lists and graphs of torch have, and what blocks are made of.
NASTIEST = (
    *(word for word in keyword.kwlist if word not in _LANGUAGE),
    *("self", "cls", "print", "torch", "nn", "F", "super", "max", "min", "range", "slice", "getattr", "next"),
    *(
        "match",
        "case",
        "type",
        "device",
        "inf",
        "nan",
        "NoneType",
        "float",
        "int",
        "input",
        "output",
        "object",
    ),
    *(
        "forward",
        "training",
        "weight",
        "bias",
        "graph",
        "graphs",
        "program",
        "prepare",
        "code",
        "eval",
        "train",
    ),
    *("keys", "items", "values", "pop", "update", "clear", "append", "shape", "size", "mode", "tap", "block"),
    *(
        "blocks",
        "x",
        "y",
        "z",
        "x1",
        "in_features",
        "depth",
        "Net",
        "Tensor",
        "Module",
        "main",
        "void",
        "auto",
    ),
    *("loop", "body", "guards", "T", "B", "n" * 90, "_", "__init__", "__class__", "_modules", "__", "_x"),
)

# A plan for each place where a name can stand; it is called `p` unless the plan itself has the name.
_HEAD = "planform 1\n"
_BODY = "x -> fc: linear(4) -> relu()"
FORMS = {
    "label": "model m(x: [B, 4]) {{\n    y = x -> {n}: linear(4)\n    return exp(y) + y\n}}\nplan p = m()\n",
    "path": 'model m(x: [B, 4]) {{\n    return x -> "zz.{n}": linear(4) -> "zz.0": linear(4)\n}}\nplan p = m()\n',
    "inside": 'model m(x: [B, 4]) {{\n    return x -> "{n}.{n}": linear(4)\n}}\nplan p = m()\n',
    "list": 'model m(x: [B, 4]) {{\n    for i in range(3) {{\n        x = x -> "{n}.{{i}}": linear(4)\n    }}\n'
    "    return x\n}}\nplan p = m()\n",
    "call": "block b(x: tensor, w: int) {{\n    return x -> {n}: linear(w) -> relu() -> e: linear(4)\n}}\n"
    'model m(x: [B, 4]) {{\n    for i in range(3) {{\n        x = x -> "s.{{i}}": b(4 + i)\n    }}\n'
    "    return x\n}}\nplan p = m()\n",
    "around": f"block b(x: tensor) {{{{\n    return {_BODY}\n}}}}\nmodel m(x: [B, 4]) {{{{\n"
    "    return x -> {n}: b()\n}}\nplan p = m()\n",
    "block": f"block {{n}}(x: tensor) {{{{\n    return {_BODY}\n}}}}\nmodel m(x: [B, 4]) {{{{\n"
    "    return x -> a: {n}()\n}}\nplan p = m()\n",
    "model": f"model {{n}}(x: [B, 4]) {{{{\n    return {_BODY}\n}}}}\nplan p = {{n}}()\n",
    "plan": f"model m(x: [B, 4]) {{{{\n    return {_BODY}\n}}}}\nplan {{n}} = m()\n",
    "input": "model m({n}: [B, 4], v: [B, 4]) {{\n    w = maximum(exp({n}), v)\n"
    "    return w[:, 1:] + sin(w)[:, :3] + zeros([B, 3]) + {n}[:, :3]\n}}\nplan p = m()\n",
    "field": "model m(q: {{{n}: [B, 4], r: [B, 4]}}) {{\n    return {{{n} = q.{n} * 2 + exp(q.r), s = q.r}}\n}}\n"
    "plan p = m()\n",
    "param": "model m(x: [B, 4]) {{\n    param {n}: [4] = ones()\n    return x * {n} + arange(4)\n}}\nplan p = m()\n",
    "buffer": 'model m(x: [B, 4]) {{\n    buffer w as "{n}": [4] = ones()\n    return x * w + 1\n}}\nplan p = m()\n',
    "shared": "model m(x: [B, 4]) {{\n    shared {n}: linear(4)\n    return {n}(exp({n}(x)))\n}}\nplan p = m()\n",
    "symbol": "model m(x: [{n}, 4]) {{\n    return reshape(x, [{n} * 4]) + arange({n} * 4)\n}}\nplan p = m()\n",
}


def _hold(form: str, name: str) -> str | None:
    """Build the plan and compare all that torch runs; the code of the diagnostic where it is refused."""
    text = _HEAD + FORMS[form].format(n=name)
    try:
        file = planform.PlanFile.from_text(text)
        model = planform.Model(file, name if form == "plan" else "p", {})
        program = model.program
        assert model.check().ok
    except planform.PlanError as error:
        return error.diagnostics[0].code
    ours = model.to_torch(seed=0).eval()
    inputs = [torch.randn(2, 4) for _ in program.graph.inputs]
    wanted = ours(*inputs)
    deployed = model.to_torch(mode="deploy", state_dict=ours.state_dict())
    for source, weights in (
        (emit_source(program), ours.state_dict()),
        (model.to_source("deploy"), deployed.state_dict()),
    ):
        tree = ast.parse(source)
        assert source.isascii() and all(line.rstrip() == line for line in source.splitlines())
        space: dict[str, Any] = {}
        exec(compile(tree, "emitted.py", "exec"), space)
        theirs = space[[node.name for node in tree.body if isinstance(node, ast.ClassDef)][-1]]().eval()
        theirs.load_state_dict(weights, strict=True)
        assert list(theirs.state_dict()) == list(weights)
        torch.testing.assert_close(theirs(*inputs), wanted)
    torch.testing.assert_close(deployed(*inputs), wanted)
    for path, weight in program.weights.items():
        owner: Any = ours
        for part in path.split("."):
            owner = getattr(owner, part)
        assert owner.shape == weight.type.shape
    ElementTree.fromstring(planform_svg(model))
    cost_html(model.cost())
    return None


def planform_svg(model: planform.Model) -> str:
    from planform.compiler.drawing.draw import draw

    return draw(model.graph, "svg")


@pytest.mark.parametrize("form", FORMS)
def test_nasty_names(form: str) -> None:
    # Other ones in each form; all of them in all forms are the slow test's.
    start = list(FORMS).index(form)
    _accept(form, {*NASTIEST[start % 9 :: 9], "class", "self", "graph", "_x"})


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_nastiest_names(form: str) -> None:
    _accept(form, set(NASTIEST))


def _accept(form: str, tried: set[str]) -> None:
    refused = {name: code for name in sorted(tried) if (code := _hold(form, name)) is not None}
    # What torch itself cannot hold, what the language keeps, and what is bound twice in the form itself.
    if form in ("label", "path", "inside", "list", "call", "around", "param", "buffer", "shared"):
        private = {name for name in tried if name.startswith("_")}
        expected = {*(RESERVED & tried), *private}
        assert set(refused) - {"x", "x1", "mode", "B"} == expected, refused
        assert {code for name, code in refused.items() if name in expected} == {"E403"}
    else:
        assert set(refused.values()) <= {"E109", "E103", "E210", "E102", "E201", "E206", "E506", "E101"}, (
            refused
        )
        assert len(refused) <= 8, refused


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.from_regex(r"[A-Za-z_][A-Za-z_0-9]{0,12}", fullmatch=True))
@example("plan", "shape")
@example("inside", "graphs")
def test_any_name(form: str, name: str) -> None:
    if name not in _LANGUAGE:
        _hold(form, name)


# ------------------------------------------------------------------------------------------------ texts

TEXTS = (
    *(
        '"""',
        "'''",
        '"',
        "\\",
        '\\"',
        "\\N{DIGIT ONE}",
        "a\nb",
        "\r\n",
        "\t",
        "\0",
        "\x1b[31mred\x1b[0m",
        "\x1b]0;t\x07",
    ),
    *("\x9b2J", "‮evil", "⁦⁩", "\u2028", "é", "日本語", "\U0001f600", "﻿", "\udcff", "</script>", "]]>"),
    *(
        "<b>&amp;</b>",
        "{x}",
        "{0.__class__}",
        "%s%n",
        "[red]",
        "[/]",
        "`|`",
        "x" * 3000,
        "",
        " ",
        "\x02\x04\x03",
        "\x7f",
    ),
)


def _whole(text: str) -> str:
    """The text without lone surrogates, which no document holds."""
    return "".join("\ufffd" if 0xD800 <= ord(letter) < 0xE000 else letter for letter in text)


@given(st.one_of(st.sampled_from(TEXTS), st.text(st.characters(exclude_categories=()), max_size=30)))
def test_texts_in_literals(text: str) -> None:
    quoted = names.quoted(text)
    assert ast.literal_eval(quoted) == text and quoted.isprintable()
    documented = f'"""{names.docstring(text)}"""'
    assert ast.literal_eval(documented) == _whole(text) and documented.isprintable()
    assert json.loads(names.json_printable(json.dumps({"a": text}, indent=2, ensure_ascii=False))) == {
        "a": text
    }
    element = ElementTree.fromstring(f'<a b="{names.markup(text)}">{names.markup(text)}</a>'.encode())
    assert (element.text or "") == element.attrib["b"] == names.printable(text)
    assert names.printable(text).isprintable()
    name = names.identifier(text)
    assert name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_texts_in_pictures_and_source(text: str) -> None:
    picture = Picture(text, (Box("block", text, text, text, 2), Box("output", text)), ())
    ElementTree.fromstring(to_svg(picture).encode())
    for line in to_dot(picture).splitlines():
        assert line.isprintable()
        assert not re.sub(r'"(?:[^"\\]|\\.)*"', "", line).count('"')
    model = planform.Model(planform.PlanFile.from_text(_HEAD + FORMS["around"].format(n="class")), "p", {})
    program = model.program
    renamed = type(program)(text, program.graphs, program.weights)
    source = emit_source(renamed)
    assert source.replace("\n", "").isprintable()
    assert _whole(text) in (ast.get_docstring(ast.parse(source), clean=False) or "")
    exec(compile(source, "emitted.py", "exec"), {})


_ESC = "\x1b]0;owned\x07\x1b[2J\x1b[31mERR\x9b2J‮\\"
_HOSTILE = """planform 1
about {{
    title = "{t}[red]"
    row = "{t}"
}}
table rows {{
    a | b
    1 | "{t}"
}}
# {t}
model m(x: [B, 4], s: int = 1) {{
    require B > 0, "{t}"
    require s == 1, "{t} {{s}} [red]"
    return x -> fc: linear(4) -> relu()  # {t}
}}
plan p = m()
claim p: params == 20 from "{t}"
claim p: params == 21 from "{t}"
"""
_COMMANDS = (
    *(
        ("check",),
        ("check", "--json"),
        ("cost",),
        ("cost", "--json"),
        ("graph",),
        ("memory", "--at", "B=1"),
        ("fuse",),
    ),
    *(
        ("deploy",),
        ("deploy", "--json"),
        ("compile",),
        ("compile", "--emit", "fx"),
        ("run", "--at", "B=2"),
        ("fmt",),
    ),
    *(
        ("graph", "--format", "dot"),
        ("graph", "--format", "svg"),
        ("cost", "--set", "s=2"),
        ("check", "--json"),
    ),
)


@pytest.mark.parametrize("colours", [False, True])
def test_terminals_are_not_steered(
    colours: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if colours else "NO_COLOR", "1")
    path = tmp_path / "\x1b[31m‮[red].plan"
    broken = (
        'x -> "{t}": linear(4)',
        "x -> {t}: linear(4)",
        'conv(x, "{t}", 3)',
        'x["{t}"]',
        'rearrange(x, "{t}")',
    )
    plans = [_HOSTILE.format(t=_ESC.replace("\\", "\\\\"))]
    plans += [
        f"{_HEAD}model m(x: [B, 4]) {{\n    return {line.replace('{t}', _ESC[:-1])}\n}}\nplan p = m()\n"
        for line in broken
    ]
    for number, text in enumerate(plans):
        path.write_text(text, encoding="utf-8")
        for command in _COMMANDS if not number else (("check",), ("check", "--json"), ("cost",)):
            assert run([command[0], str(path), *command[1:]]) in (0, 1, 2), command
            shown = capsys.readouterr()
            for stream in (shown.out, shown.err):
                stream = re.sub(r"\x1b\[[0-9;]*m", "", stream) if colours else stream
                assert stream.replace("\n", "").replace("\t", "").isprintable(), command
                assert "\x1b[31mERR" not in shown.out + shown.err
            if "--json" in command:
                json.loads(shown.out)
