"""Text to syntax tree: what each construct means, where nodes stand, and every mistake of syntax."""

from __future__ import annotations

import json
import re
from pathlib import Path

import lark
import pytest

from planform import grammar
from planform.dsl.codes import CODES
from planform.dsl.diagnostics import Diagnostic, Label, PlanError
from planform.dsl.limits import MAX_DIAGNOSTICS, children
from planform.dsl.parser import parse
from planform.dsl.render import render, to_json
from planform.dsl.source import Source, Span
from planform.dsl.syntax import (
    Assign,
    Binary,
    Block,
    Claim,
    Expr,
    File,
    Let,
    Node,
    Number,
    ShapeType,
    Shared,
    String,
    Table,
    Use,
    WeightDecl,
)
from support.trees import outline

SAMPLES = sorted((Path(__file__).parent / "data" / "syntax").glob("*.plan"))
SYNTAX_CODES = sorted(code for code in CODES if code.startswith("E0"))


def file(text: str) -> File:
    return parse(Source("net.plan", text))


def value(text: str) -> Expr:
    """The expression of a top-level `K = ...`."""
    item = file(f"planform 1\nK = {text}\n").items[0]
    assert isinstance(item, Let)
    return item.value


def body(text: str) -> Node:
    """The only statement of a block's body."""
    item = file(f"planform 1\nblock f(x: tensor) {{\n{text}\n}}\n").items[0]
    assert isinstance(item, Block)
    (statement,) = item.body
    return statement


def problems(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(PlanError) as caught:
        file(text)
    return caught.value.diagnostics


# ---------------------------------------------------------------- the grammar


class KeepLineBreaks:
    always_accept = ("_NL",)

    def process(self, stream: object) -> object:
        return stream


def test_grammar_is_free_of_conflicts() -> None:
    """`strict=True` refuses shift/reduce conflicts and terminals that collide."""
    grammar.build(postlex=KeepLineBreaks(), strict=True)


def test_grammar_is_readable_in_one_sitting() -> None:
    assert len(grammar.text().splitlines()) < 200


def test_stored_tables_are_those_of_the_grammar() -> None:
    """Rewrite them with `python -m planform.grammar`."""
    stored = (Path(grammar.__file__).parent / "tables.json").read_text(encoding="utf-8")
    assert json.loads(stored)["fingerprint"] == grammar.fingerprint()
    assert stored == grammar.dump() + "\n"


def test_tables_of_another_grammar_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lark, "__version__", "0")
    built = grammar.load(postlex=KeepLineBreaks())
    assert built("planform 1\n", start="file").data == "file"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_parse_with_exact_spans(path: Path) -> None:
    """Each node's span lies within its parent's, and siblings do not overlap."""
    tree = file(path.read_text(encoding="utf-8"))
    pending: list[Node] = [tree]
    while pending:
        node = pending.pop()
        below = [child for child in children(node)]
        for child in below:
            assert node.span.start <= child.span.start < child.span.end <= node.span.end, (node, child)
            assert child.span.text == child.span.text.strip()
        pending += below


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a * b // c % d @ e / f", "((((a * b) // c) % d) @ e) / f"),
        ("-a**-b", "-(a ** (-b))"),
        ("a**b**c", "a**(b**c)"),
        ("not a == b", "not (a == b)"),
        ("a or b and not c", "a or (b and (not c))"),
        ("a if b else c if d else e", "a if b else (c if d else e)"),
        ("a or b -> f()", "(a or b) -> f()"),
        ("a -> f() if c else d", "(a -> f()) if c else d"),
        ("a -> f() when b or c -> g()", "a -> f() when (b or c) -> g()"),
        ("a.b[1](c).d[2:]", "((((a.b)[1])(c)).d)[2:]"),
        ("[\n  a,\n  b\n]", "[a, b]"),
        ("f(\n  a,\n  k=b,\n)", "f(a, k=b)"),
        ("a # one\n  # two\n\n  -> f()", "a -> f()"),
        ("a if b\n  else c", "a if b else c"),
        ("{a\n  b = 2,\n\n  c}", "{a = a, b = 2, c = c}"),
        ("1_000K", "1000000"),
        ("4.09G", "4090000000"),
        ("1.5T", "1500000000000"),
    ],
)
def test_same_meaning(text: str, meaning: str) -> None:
    assert outline(value(text)) == outline(value(meaning))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("(a < b) < c", "a < b < c"),
        ("(a and b) and c", "a and b and c"),
        ("(x -> f()) -> g()", "x -> f() -> g()"),
        ("(a, b)", "[a, b]"),
        ("(a,)", "(a)"),
        ("x[1]", "x[1:]"),
        ("a.b", "a[b]"),
        ('"{a}"', '"\\{a}"'),
        ("1", "1.0"),
        ("1e3", "1000"),
    ],
)
def test_different_meaning(text: str, meaning: str) -> None:
    assert outline(value(text)) != outline(value(meaning))


def test_numbers() -> None:
    values = {"3": 3, "25_557_032": 25557032, "0.5": 0.5, "1e-6": 1e-6, "64K": 64000, "2.5M": 2500000}
    for text, expected in values.items():
        number = value(text)
        assert isinstance(number, Number)
        assert (number.value, type(number.value)) == (expected, type(expected))
    assert value("9223372036854775807").span.text == "9223372036854775807"


def test_a_label_binds_the_first_call_alone() -> None:
    number = ("Argument", None, ("Name", "x"), False)
    assert outline(value("a: f(x) -> b: g()")) == (
        "Pipe",
        ("Labelled", ("String", ("a",)), ("Call", ("Name", "f"), (number,))),
        (("Stage", ("String", ("b",)), ("Call", ("Name", "g"), ()), None, False),),
    )


def test_interpolation_has_exact_spans() -> None:
    text = value('"layer{i + 1}.\\{{names["k"]}"')
    assert isinstance(text, String)
    assert [part if isinstance(part, str) else part.span.text for part in text.parts] == [
        "layer",
        "i + 1",
        ".{",
        'names["k"]',
    ]


def test_parentheses_belong_to_the_span() -> None:
    product = value("(a + b) * c")
    assert isinstance(product, Binary)
    assert (product.span.text, product.left.span.text) == ("(a + b) * c", "(a + b)")


def test_statement_words_are_names_elsewhere() -> None:
    words = [
        "planform",
        "about",
        "use",
        "table",
        "block",
        "inline",
        "model",
        "plan",
        "claim",
        "budget",
        "at",
        "within",
        "from",
        "as",
        "list",
    ]
    words += ["return", "require", "frozen", "param", "buffer", "const", "shared"]
    for word in words:
        assert outline(value(word)) == ("Name", word)
        assert outline(value(f"f({word}=x.{word})")) == outline(value(f"f({word} = (x.{word}))"))
        assert isinstance(body(f"y = {word}"), Assign)
    for word in [
        "about",
        "use",
        "table",
        "block",
        "inline",
        "model",
        "plan",
        "claim",
        "budget",
        "at",
        "within",
        "from",
        "as",
        "list",
    ]:
        assert isinstance(body(f"{word} = 3"), Assign)


# ---------------------------------------------------------------- statements and declarations


def test_annotation_or_label() -> None:
    annotated = body("y: [B, N] = fc: f(x)")
    assert isinstance(annotated, Assign)
    assert isinstance(annotated.type, ShapeType)
    assert outline(annotated.value)[0] == "Labelled"


def test_else_goes_on_after_comments() -> None:
    statement = body("if a { b = 1 }\n# comment\n\nelse if c { b = 2 } else { b = 3 }")
    assert outline(statement) == outline(body("if a { b = 1 } else if c { b = 2 } else { b = 3 }"))
    assert outline(statement)[3][0][0] == "If"


def test_weights_and_sharing() -> None:
    weight = body('frozen param w as "weight_{k}": [K, C] = zeros()')
    assert isinstance(weight, WeightDecl)
    assert (weight.kind, weight.target.name, weight.frozen) == ("param", "w", True)
    shared = body('shared head as "rpn.head" = rpn_head(3)')
    assert isinstance(shared, Shared)
    assert (shared.target.name, outline(shared.path)) == ("head", ("String", ("rpn.head",)))
    assert outline(body("shared g: f(16)"))[1:3] == (("Target", "g"), None)


def test_declarations() -> None:
    tree = file(
        'planform 1\nuse "a/b.plan" (c, d,)\nuse std (e)\ntable t {\n  a | b\n  1 | [2,\n 3]\n}\n'
        'claim "n.m": macs(mode=train) at (B=1) <= 4.09G within 0.5% from "x"\nbudget n.m: params < 3 within 2\n'
    )
    use, std, table, claim, budget = tree.items
    assert isinstance(use, Use) and (use.library, use.path) == (None, "a/b.plan")
    assert [name.name for name in use.names] == ["c", "d"]
    assert isinstance(std, Use) and (std.library, std.path) == ("std", None)
    assert isinstance(table, Table) and [column.name for column in table.columns] == ["a", "b"]
    assert outline(table.rows) == ((("Number", 1), outline(value("[2, 3]"))),)
    assert isinstance(claim, Claim) and claim.tolerance is not None
    assert (claim.kind, claim.subject.name, claim.op, claim.source_note) == ("claim", "n.m", "<=", "x")
    assert (claim.tolerance.value, claim.relative) == (0.005, True)
    assert isinstance(budget, Claim) and budget.tolerance is not None
    assert (budget.kind, budget.subject.name, budget.tolerance.value, budget.relative) == (
        "budget",
        "n.m",
        2,
        False,
    )


def test_comments_are_kept_in_order() -> None:
    tree = file("# one\nplanform 1 # two\nK = [ # three\n  1, # four\n  # five\n]\n# six")
    assert [(comment.text, comment.own_line) for comment in tree.comments] == [
        ("# one", True),
        ("# two", False),
        ("# three", False),
        ("# four", False),
        ("# five", True),
        ("# six", True),
    ]


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\n\n\n", "   \n"])
def test_line_endings_mean_the_same(ending: str) -> None:
    text = "planform 1\nblock f(x: tensor) {\n\ty = x\n\t  -> g()\n\treturn y\n}\nK = 3"
    assert outline(file(text)) == outline(file("\ufeff" + text.replace("\n", ending) + ending))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("code", SYNTAX_CODES)
def test_every_code_is_explained_and_fires(code: str) -> None:
    """A bad input fires its code and nothing else."""
    row = CODES[code]
    assert row.bad and row.explanation.endswith(".")
    for text in row.bad:
        found = problems(text)
        assert [problem.code for problem in found] == [code], text
        assert "error[" in render(found[0])
        assert to_json(found[0])["line"] >= 1


def test_two_broken_blocks_give_two_errors() -> None:
    found = problems(
        "planform 1\nblock f(x: tensor) {\n    y = conv(x,\n    return y\n}\n\nblock g(x: tensor) {\n    return x\n}\n"
        "block h(x: tensor) {\n    retrun x\n}\nplan p = f(x, k=1, 2)\n"
    )
    assert [(problem.code, problem.primary.span.line) for problem in found] == [
        ("E009", 4),
        ("E014", 11),
        ("E016", 13),
    ]


def test_missing_brace_does_not_hide_the_next_block() -> None:
    found = problems(
        "planform 1\nblock f(x: tensor) {\n    if x {\n    return x\n}\n\nblock g(x: tensor) {\n    y = = x\n}\n"
    )
    assert [(problem.code, problem.primary.span.line) for problem in found] == [("E009", 7), ("E001", 8)]
    assert [label.span.line for label in found[0].secondary] == [2]


def test_the_number_of_errors_is_bounded() -> None:
    found = problems("planform 1\n" + "blok f(x: tensor) { }\nplan 3\n" * 500)
    assert len(found) == MAX_DIAGNOSTICS


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("blok f() {}", "did you mean `block`?"),
        ("block f(x: Tensor) {}", "`tensor`"),
        ("import torch", "use std"),
        ("K = 'a'", "double quotes"),
        ("block f(x: tensor) { x += 1 }", "`x = x + ...`"),
        ("block f(x: tensor) { y = x -> relu }", "`relu()`"),
        ("block f(x: tensor) { y = x ->\nrelu() }", "begin the next line with `->`"),
        ("claim p: params = 3", "`==`"),
        ("K = sum(x for x in y)", "in brackets"),
        ("K = {a: 1}", "`name = value`"),
        ("K = x -> f() + 1", "`(x -> f()) + y`"),
        ("K = .5", "`0.5`"),
        ("K = 1.", "`1.0`"),
        ('K = "{a"', "`\\{`"),
        ("K = 1 + not x", "`(not x)`"),
        ("K = x if y", "`a if c else b`"),
        ("K = x is 3", "`==`"),
    ],
)
def test_help(text: str, help: str) -> None:
    (problem,) = problems(f"planform 1\n{text}\n")
    assert help in " ".join(problem.help)


def test_expectations_are_in_the_words_of_the_language() -> None:
    """No name of a terminal shows."""
    for code in ("E001", "E031"):
        for text in CODES[code].bad:
            for problem in problems(text):
                assert not re.search(r"[A-Z]{3,}|_", problem.message), problem.message


# ---------------------------------------------------------------- rendering


def test_rendering_of_one_and_of_several_places() -> None:
    source = Source("net.plan", "planform 1\nblock f(x: tensor) {\n    return relu(y + skip)\n}\n")
    start = source.text.index("y + skip")
    skip = source.text.index("skip")
    other = Source("lib.plan", "one\ntwo\nthree\n")
    diagnostic = Diagnostic(
        "E301",
        "sizes differ",
        Label(Span(source, start, start + 8), "y: [B, 512]"),
        (Label(Span(source, skip, skip + 4), "here"), Label(Span(other, 4, 11), "and there")),
        ("in layer1",),
        ("project",),
    )
    assert render(diagnostic) == "\n".join(
        [
            "error[E301]: sizes differ",
            " --> net.plan:3:17",
            "  |",
            "3 |     return relu(y + skip)",
            "  |                 ^^^^^^^^ y: [B, 512]",
            "  |                     ---- here",
            "  |",
            " ::: lib.plan:2:1",
            "2 | two",
            "  | ---",
            "  :",
            "3 | three",
            "  | --- and there",
            "  = in layer1",
            "  = help: project",
        ]
    )
    data = to_json(diagnostic)
    assert {key: data[key] for key in ("file", "line", "column", "end_line", "end_column", "text")} == {
        "file": "net.plan",
        "line": 3,
        "column": 17,
        "end_line": 3,
        "end_column": 25,
        "text": "y: [B, 512]",
    }
    assert [place["file"] for place in data["secondary"]] == ["net.plan", "lib.plan"]
    assert json.loads(json.dumps(data)) == data


def test_long_lines_are_clipped_around_the_place() -> None:
    (problem,) = problems("planform 1\nK = [" + "1, " * 1000 + "$" + ", 1" * 1000 + "]\n")
    text = render(problem)
    assert max(map(len, text.splitlines())) < 130
    line, under = text.splitlines()[3:5]
    assert line[under.index("^")] == "$"


def test_wide_characters_and_tabs_keep_the_caret_in_place() -> None:
    (problem,) = problems('planform 1\nK =\t"\u65e5\u672c" + $\n')
    line, under = render(problem).splitlines()[3:5]
    assert under.index("^") == line.index("$") + 2
