"""What the language means, construct by construct: the graphs, weights and shapes that plan texts give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planform import PlanError
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.compiler.graph.graph import Graph
from planform.compiler.sizes.dims import render

HEAD = "planform 1\n"


def model(folder: Path, text: str, plan: str = "p", **parameters: Any) -> Model:
    """A plan of a text."""
    (folder / "pyproject.toml").touch()
    (folder / "net.plan").write_text(HEAD + text, encoding="utf-8")
    return Model(PlanFile(folder / "net.plan"), plan, parameters)


def graph(folder: Path, text: str, mode: Any = "eval", **parameters: Any) -> Graph:
    """The graph of the plan `p` of a text."""
    return model(folder, text, **parameters).program.graphs[mode]


def net(body: str, shape: str = "[B, 8, 16, 16]", before: str = "", at: str = "") -> str:
    """A file with one model around a body."""
    lines = "\n    ".join(body.split("\n"))
    return f"{before}\nmodel net(x: {shape}) {{\n    {lines}\n}}\nplan p = net(){at}\n"


def ops(found: Graph) -> list[str]:
    """The operators of a graph in order."""
    return [node.op.title for node in found.operators()]


def code(folder: Path, text: str) -> list[str]:
    """The codes of a file's diagnostics."""
    (folder / "pyproject.toml").touch()
    (folder / "net.plan").write_text(HEAD + text, encoding="utf-8")
    return [d.code for d in PlanFile(folder / "net.plan").check().diagnostics]


def shape(found: Graph) -> str:
    """The shape of the first result."""
    return str(found.outputs[0].type)


# ---------------------------------------------------------------- calls


def test_a_pipe_gives_inputs_and_a_tuple_spreads(tmp_path: Path) -> None:
    found = graph(tmp_path, net("y = relu(x)\nreturn (x, y) -> add()"))
    assert ops(found) == ["relu", "add"]


def test_when_skips_a_stage(tmp_path: Path) -> None:
    text = net("return x -> relu() when false -> sigmoid() when 1 < 2")
    assert ops(graph(tmp_path, text)) == ["sigmoid"]


def test_a_call_without_inputs_is_a_block_value(tmp_path: Path) -> None:
    before = "block twice(x: [B, C, H, W], f: block = relu()) {\n    return x -> f() -> f()\n}"
    text = net("return x -> twice() -> twice(sigmoid()) -> twice(f=conv(8, 1))", before=before)
    assert code(tmp_path, text) == ["E402"]
    text = net("return x -> twice() -> twice(sigmoid())", before=before)
    assert ops(graph(tmp_path, text)) == ["relu", "relu", "sigmoid", "sigmoid"]


def test_a_bare_operator_name_is_a_block_value(tmp_path: Path) -> None:
    before = "block act(x: [B, C, H, W], f: block) {\n    return f(x)\n}"
    assert ops(graph(tmp_path, net("return act(x, relu)", before=before))) == ["relu"]


def test_plans_are_block_values_whose_arguments_can_be_overridden(tmp_path: Path) -> None:
    text = (
        "model net(x: [B, 8], width: int = 4) {\n    return x -> fc: linear(width)\n}\n"
        "plan small = net()\nplan p = small(width = 6)\n"
    )
    assert shape(graph(tmp_path, text)) == "[B, 6]"
    assert shape(model(tmp_path, text, width=9).graph) == "[B, 9]"


def test_optional_inputs_are_tested_with_is_none(tmp_path: Path) -> None:
    before = (
        "block masked(x: [B, C, H, W], mask: [B, C, H, W] | none) {\n"
        "    if mask is none { return x }\n    return x * mask\n}"
    )
    assert ops(
        graph(tmp_path, net("y = relu(x)\nreturn (x, none) -> masked() -> masked(y)", before=before))
    ) == [
        "relu",
        "mul",
    ]


def test_recursion_is_allowed(tmp_path: Path) -> None:
    before = (
        "block tree(x: [B, C, H, W], depth: int) {\n    if depth == 0 { return relu(x) }\n"
        "    return tree(x, depth - 1) + tree(x, depth - 1)\n}"
    )
    assert ops(graph(tmp_path, net("return tree(x, 3)", before=before))).count("relu") == 8


def test_lists_of_tensors_records_and_comprehensions(tmp_path: Path) -> None:
    body = (
        "feats = [x]\nfor i in range(3) { feats = feats + [feats[-1] -> relu()] }\n"
        "pyramid = {p3 = feats[1], p4 = concat(feats, axis=1)}\n"
        'deep = [f -> "conv{i}": conv(4, 1) for i, f in enumerate(feats) if i > 1]\n'
        "return {p4 = pyramid.p4, total = sum(deep)}"
    )
    found = graph(tmp_path, net(body))
    assert isinstance(found.output, dict)
    assert {key: str(value.type) for key, value in found.output.items()} == {
        "p4": "[B, 32, 16, 16]",
        "total": "[B, 4, 16, 16]",
    }
    assert list(found.weights) == ["conv2.weight", "conv3.weight"]


def test_loops_carry_state_and_branches_rebind(tmp_path: Path) -> None:
    body = "prev, cur = x, relu(x)\nfor i in range(2) { prev, cur = cur, prev + cur }\nreturn cur"
    assert ops(graph(tmp_path, net(body))) == ["relu", "add", "add"]


def test_tables_are_lists_of_records(tmp_path: Path) -> None:
    before = "table stages {\n    width | depth\n    16    | 1\n    32    | 2\n}"
    body = (
        "for i, row in enumerate(stages) {\n    for j in range(row.depth) {\n"
        '        x = x -> "s{i}.{j}": conv(row.width, 1)\n    }\n}\nreturn x'
    )
    found = graph(tmp_path, net(body, before=before))
    assert [path for path in found.weights] == ["s0.0.weight", "s1.0.weight", "s1.1.weight"]


# ---------------------------------------------------------------- labels and weights


def test_labels_nest_and_inline_blocks_put_theirs_into_the_callers_scope(tmp_path: Path) -> None:
    before = (
        "inline block conv_bn(x: [B, C, H, W], out: int, name: str) {\n"
        '    return x -> "conv_{name}": conv(out, 1) -> "bn_{name}": batch_norm()\n}\n'
        'block stage(x: [B, C, H, W]) {\n    return x -> conv_bn(4, "a") -> conv_bn(4, "b") -> "deep.er": conv(2, 1)\n}'
    )
    found = graph(tmp_path, net("return x -> body: stage()", before=before))
    paths = [path for path in found.weights if path.endswith(".weight")]
    assert paths == [
        "body.conv_a.weight",
        "body.bn_a.weight",
        "body.conv_b.weight",
        "body.bn_b.weight",
        "body.deep.er.weight",
    ]


def test_shared_blocks_have_one_instance(tmp_path: Path) -> None:
    body = 'shared gate: conv(8, 1)\nshared head as "rpn.head" = conv(8, 1)\nreturn head(gate(gate(x)))'
    found = graph(tmp_path, net(body))
    assert list(found.weights) == ["gate.weight", "rpn.head.weight"]
    assert ops(found) == ["conv"] * 3


def test_shared_weights_can_be_read_for_tying(tmp_path: Path) -> None:
    text = (
        "model net(ids: i64[B, T]) {\n    shared emb: embedding(100, 16)\n    h = emb(ids)\n"
        '    return einsum(h, emb.weight, "b t d, v d -> b t v")\n}\nplan p = net()\n'
    )
    found = graph(tmp_path, text)
    assert shape(found) == "[B, T, 100]"
    assert model(tmp_path, text).cost(B=1, T=7).params == 1600


def test_declared_weights_buffers_and_frozen(tmp_path: Path) -> None:
    body = (
        'param scale as "gamma": [8] = ones()\nbuffer table: i64[4] = arange(4)\nfrozen param shift: [8] = 0.5\n'
        "return x * reshape(scale, [8, 1, 1]) + reshape(shift, [8, 1, 1]) + sum(table, axis=0) -> frozen last: conv(8, 1)"
    )
    found = graph(tmp_path, net(body))
    weights = found.weights
    assert weights["gamma"].trainable and weights["gamma"].kind == "param"
    assert weights["table"].kind == "buffer" and str(weights["table"].type) == "i64[4]"
    assert isinstance(weights["table"].init, Graph)
    assert not weights["shift"].trainable
    assert not weights["last.weight"].trainable


def test_weights_that_reach_no_output_do_not_exist(tmp_path: Path) -> None:
    assert list(graph(tmp_path, net("y = x -> unused: conv(8, 1)\nreturn x")).weights) == []


def test_a_weight_and_a_module_cannot_share_a_path(tmp_path: Path) -> None:
    assert code(tmp_path, net("param fc: [8] = ones()\nreturn x -> fc: conv(8, 1)")) == ["E401"]


# ---------------------------------------------------------------- shapes


def test_symbols_go_all_the_way(tmp_path: Path) -> None:
    found = graph(tmp_path, net("return x -> conv(4, 3, stride=2, pad=1)", "[B, 8, H, W]"))
    assert shape(found) == "[B, 4, (H + 1)//2, (W + 1)//2]"


def test_require_is_a_fact_that_proofs_use_and_a_guard(tmp_path: Path) -> None:
    body = (
        'require H % 4 == 0, "height {H}"\ny = x -> a: conv(8, 3, stride=2, pad=1) -> b: conv(8, 3, stride=2, pad=1)\n'
        "z: [B, 8, H // 4, W] = y\nreturn z"
    )
    found = graph(tmp_path, net(body, "[B, 8, H, 8]").replace("H // 4, W", "H // 4, 2"))
    assert [str(guard) for guard in found.guards] == ["H % 4 == 0"]
    undecided = graph(tmp_path, net("y: [B, 8, W, H] = x\nreturn y", "[B, 8, H, W]"))
    assert {str(guard) for guard in undecided.guards} == {"H == W", "W == H"} or len(undecided.guards) == 1


def test_bindings_make_sizes_known(tmp_path: Path) -> None:
    body = "if H > 7 { x = relu(x) }\nreturn x"
    assert code(tmp_path, net(body, "[B, 8, H, W]")) == ["E203"]
    found = graph(tmp_path, net(body, "[B, 8, H, W]", at=" at (H=8, W=9)"))
    assert shape(found) == "[B, 8, 8, 9]"


@pytest.mark.parametrize("sizes", [[5], [5, 6], [5, 6, 7]])
def test_one_block_serves_all_ranks(tmp_path: Path, sizes: list[int]) -> None:
    before = "block body(x: [B, C, *S]) {\n    return x -> conv(2 * C, 3, pad=1) -> batch_norm() -> relu()\n}"
    text = net("return x -> body: body()", "[B, 4, *S]", before, f" at (S={sizes})")
    assert shape(graph(tmp_path, text)) == f"[B, 8, {', '.join(map(str, sizes))}]"


def test_undecided_sizes_of_a_spread_become_guards(tmp_path: Path) -> None:
    before = "block first(a: [B, C, *S], b: [B, C, *S]) {\n    return relu(a)\n}"
    found = graph(tmp_path, net("return first(x, x[:, :, :, :7])", "[B, 4, 8, W]", before))
    assert [str(guard) for guard in found.guards] == ["min(7, W) == W"]
    assert code(tmp_path, net("return first(x, x[:, :, 1:])", "[B, 4, 8, W]", before)) == ["E305"]


def test_shape_reads_sizes_and_annotations_bind_names(tmp_path: Path) -> None:
    body = 'B2, C, H, W = shape(x)\ny: [B, N, D] = rearrange(x, "b c h w -> b (h w) c")\nreturn reshape(y, [B, D, N])'
    found = graph(tmp_path, net(body.replace("B2, C, H, W", "b, c, h, w"), "[B, 8, H, 4]"))
    assert [render(size) for size in found.outputs[0].shape] == ["B", "8", "4*H"]


def test_subscripts_select_and_slice_the_axes_of_a_tensor(tmp_path: Path) -> None:
    found = graph(
        tmp_path,
        net(
            "return (x[:, 0], x[:, 1:, ::2], x[..., -1], x[2], x[0, 1:3, 4, :], x[0, none, ..., 1, none])",
            "[4, 8, 16, 16]",
        ),
    )
    assert [str(value.type) for value in found.outputs] == [
        "[4, 16, 16]",
        "[4, 7, 8, 16]",
        "[4, 8, 16]",
        "[8, 16, 16]",
        "[2, 16]",
        "[1, 8, 16, 1]",
    ]
    assert code(tmp_path, net("return x[0, 0, 0, 0, 0]")) == ["E202"]
    assert code(tmp_path, net("return x[:, 9]")) == ["E301"]
    assert code(tmp_path, net("a = [1, 2]\nreturn x + a[0, 1]")) == ["E213"]


# ---------------------------------------------------------------- modes and taps


def test_modes_are_graphs_over_one_weight_table(tmp_path: Path) -> None:
    body = (
        "y = x -> stem: conv(8, 1) -> dropout(0.5)\n"
        "if mode == train { return (y -> head: conv(2, 1), y -> aux: conv(3, 1)) }\nreturn y -> head: conv(2, 1)"
    )
    program = model(tmp_path, net(body)).program
    assert list(program.graphs["eval"].weights) == ["stem.weight", "head.weight"]
    assert list(program.weights) == ["stem.weight", "head.weight", "aux.weight"]
    assert "dropout" in ops(program.graphs["train"]) and "dropout" not in ops(program.graphs["eval"])


def test_taps_cut_models_and_what_is_unused_vanishes(tmp_path: Path) -> None:
    before = (
        "model trunk(x: [B, 8, H, W]) {\n"
        '    for i in range(3) { x = x -> "layer{i}.conv": conv(8, 1) -> "layer{i}.act": relu() }\n'
        "    return x -> global_avg_pool() -> fc: linear(10)\n}"
    )
    body = 't = x -> body: trunk()\nreturn [tap(t, "layer1"), tap(t, "layer0.conv")]'
    found = graph(tmp_path, net(body, before=before))
    assert list(found.weights) == ["body.layer0.conv.weight", "body.layer1.conv.weight"]
    assert [value.node.op.title for value in found.outputs] == ["relu", "conv"]


def test_a_tap_suggests_labels_and_their_prefixes(tmp_path: Path) -> None:
    before = (
        'block trunk(x: [B, 8, H, W]) {\n    return x -> "layer4.0": conv(8, 1) -> "layer4.1": conv(8, 1)\n}'
    )
    with pytest.raises(PlanError) as caught:
        graph(tmp_path, net('return tap(trunk(x), "layr4")', before=before))
    assert caught.value.diagnostics[0].code == "E501"
    assert "did you mean `layer4`" in caught.value.diagnostics[0].help[0]


# ---------------------------------------------------------------- files


def test_use_imports_from_files_and_keeps_their_scope(tmp_path: Path) -> None:
    (tmp_path / "parts.plan").write_text(
        HEAD + "WIDTH = 12\nblock widen(x: [B, C, H, W]) {\n    return x -> conv(WIDTH, 1)\n}\n",
        encoding="utf-8",
    )
    text = 'use "parts.plan" (widen)\n' + net("return widen(x)")
    assert shape(graph(tmp_path, text)) == "[B, 12, 16, 16]"


def test_use_cannot_leave_the_project_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.plan").write_text(HEAD + "A = 1\n", encoding="utf-8")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.plan").symlink_to(outside / "secret.plan")
    assert code(inside, 'use "link.plan" (A)\n' + net("return x")) == ["E105"]


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("round_to(35, 8)", 32),
        ("round_to(12, 8)", 16),
        ("sum([1, 2, 3]) * len([4, 5])", 12),
        ("max([3, 9, 4])", 9),
        ("ceil(7 / 2)", 4),
        ("-7 // 2 + 9", 5),
        ("2**3**2 % 100", 12),
        ("[1, 2, 3, 4][1:3][0]", 2),
        ("int(linspace(0, 10, 3)[1])", 5),
        ("1 if none is none and not false else 2", 1),
        ("prod([2, 3, 4])", 24),
    ],
)
def test_static_expressions(tmp_path: Path, written: str, value: int) -> None:
    assert shape(graph(tmp_path, net(f"return x -> conv({written}, 1)"))) == f"[B, {value}, 16, 16]"


def test_a_plan_that_fails_raises_with_its_diagnostics(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        _ = graph(tmp_path, net("return y"))
    assert [d.code for d in caught.value.diagnostics] == ["E101"]


def test_a_question_about_evaluation_does_not_ask_training(tmp_path: Path) -> None:
    found = model(tmp_path, net("return x -> conv(8, 3, stride=2) -> norm: batch_norm()", "[B, 8, H, W]"))
    assert found.cost(B=1, H=3, W=3).params == 592
    bound = found.at(B=1, H=3, W=3)
    assert (
        list(bound.program.graphs) == ["eval"]
        and "one value has no variance" in bound.program.refused["train"]
    )
    with pytest.raises(PlanError, match="E508"):
        bound.graph_in("train")


def test_axes_of_patterns_may_have_the_names_of_operands(tmp_path: Path) -> None:
    found = graph(tmp_path, net('return x -> rearrange("b c (y x) w -> b c y x w", x=4)'))
    assert shape(found) == "[B, 8, 4, 4, 16]"


def test_parameters_from_python_are_values_of_the_language(tmp_path: Path) -> None:
    text = (
        "model net(x: [B, 8], rows: list[record] = []) {\n"
        '    for i, row in enumerate(rows) { x = x -> "l{i}": linear(row.width) }\n    return x\n}\nplan p = net()\n'
    )
    assert shape(model(tmp_path, text, rows=({"width": 5}, {"width": 7})).graph) == "[B, 7]"


PARTLY = """planform 1

block unit(x: [B, C], width: int, repeats: int = 1) {
    for i in range(repeats) {
        x = x -> "{i}": linear(width)
    }
    return x
}

model net(x: [B, 8]) {
    v = unit(REST
    return x -> a: v(CALL)
}

plan p = net()
"""


@pytest.mark.parametrize(
    ("made", "call", "wanted"),
    [
        ("16)", "", [("a.0.weight", (16, 8)), ("a.0.bias", (16,))]),
        ("16)", "width=4", [("a.0.weight", (4, 8)), ("a.0.bias", (4,))]),
        ("repeats=2)", "4", [("a.0.weight", (4, 8)), ("a.0.bias", (4,)), ("a.1.weight", (4, 4)), ("a.1.bias", (4,))]),
        ("16)", "24", "width"),
        ("16)", "[16, 24], repeats=2", "width"),
        ("width=16)", "24", "width"),
        ("repeats=2)", "4, 1", "repeats"),
    ],
)  # fmt: skip
def test_a_block_value_keeps_what_it_was_given(made: str, call: str, wanted: Any) -> None:
    file = PlanFile.from_text(PARTLY.replace("REST", made).replace("CALL", call))
    if not isinstance(wanted, str):
        weights = file.program("p").weights
        assert [(path, weight.type.shape) for path, weight in weights.items()] == wanted
        return
    (found,) = file.check().diagnostics
    assert found.code == "E217"
    assert found.message == f"this block value of `unit` has its `{wanted}` already"
    # The argument of the call is pointed at, and what the value was given.
    assert found.primary.span.text in call and found.primary.span.line == 12
    assert found.secondary[0].span.line == 11 and found.help[0].startswith(
        f"give another by name: `{wanted}="
    )


def test_a_shared_block_value_has_a_path_of_its_own() -> None:
    text = (
        'planform 1\n\nmodel net(x: [B, 8]) {\n    shared g as "deep.g" = linear(8)\n'
        "    return g(g(x))\n}\n\nplan p = net()\n"
    )
    weights = PlanFile.from_text(text).program("p").weights
    assert [(path, weight.type.shape) for path, weight in weights.items()] == [
        ("deep.g.weight", (8, 8)),
        ("deep.g.bias", (8,)),
    ]


def test_a_declaration_says_what_its_call_had_to_report(tmp_path: Path) -> None:
    """`check` was satisfied with a plan, or a value, whose block failed."""
    for declaration in ("plan p = net()", "K = net()"):
        text = f"planform 1\nmodel net() {{\n    return linspace(start=0.0, end=1.0, steps=1)\n}}\n{declaration}\n"
        report = PlanFile.from_text(text).check()
        assert [found.code for found in report.diagnostics] == ["E206"]
