"""Random and damaged texts: every one is read or refused with a diagnostic, within a second.

`make test` reads 500 texts of each kind, `make test-all` 20,000.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planform.dsl.diagnostics import PlanError
from planform.dsl.format import format_source
from planform.dsl.parser import parse
from planform.dsl.render import render_all, to_json
from planform.dsl.source import Source
from support.timing import Stopwatch
from support.trees import outline

ROOT = Path(__file__).parent.parent
SAMPLES = [
    path.read_text(encoding="utf-8")
    for folder in ("tests/data/syntax", "examples", "dsl/std")
    for path in sorted((ROOT / folder).rglob("*.plan"))
]

WORDS = [
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
    "return",
    "require",
    "frozen",
    "param",
    "buffer",
    "const",
    "shared",
    "if",
    "else",
    "for",
    "in",
    "is",
    "and",
    "or",
    "not",
    "when",
    "true",
    "false",
    "none",
    "x",
    "y",
    "conv",
    "B",
    "int",
    "tensor",
    "std",
]
SIGNS = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "->",
    "|",
    ".",
    "...",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "@",
    "**",
    "_",
    '"',
    '"',
    '"a"',
    '"{x}"',
    "1",
    "2.5",
    "3K",
    "1e9",
    "#",
    "\\",
    "$",
]

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
GATE = settings(max_examples=500, suppress_health_check=SLOW)
SWEEP = settings(max_examples=20_000, suppress_health_check=SLOW)


def read(text: str) -> None:
    """Read a text, and format it if it has no mistakes; a mistake must be told in full, in the bounds of time."""
    source = Source("fuzz.plan", text)
    with Stopwatch() as watch:
        try:
            tree = parse(source)
        except PlanError as error:
            assert error.diagnostics
            for diagnostic in error.diagnostics:
                assert 0 <= diagnostic.primary.span.start <= diagnostic.primary.span.end <= len(text)
                assert to_json(diagnostic)["message"]
            assert render_all(error.diagnostics)
        else:
            result = format_source(source)
            assert outline(parse(Source("formatted.plan", result))) == outline(tree)
            assert format_source(Source("formatted.plan", result)) == result
    assert watch.seconds < 1


# ---------------------------------------------------------------- texts

tokens = st.one_of(st.sampled_from(WORDS), st.sampled_from(SIGNS), st.sampled_from(["\n", "\n    "]))
soups = st.lists(st.tuples(tokens, st.sampled_from(["", " "])), max_size=80).map(
    lambda parts: "planform 1\n" + "".join(token + blank for token, blank in parts)
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A sample with pieces of it deleted, doubled, exchanged or replaced."""
    text = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:end] + text[start:]
            case 2:
                text = text[:start] + draw(tokens) + text[end:]
            case _:
                text = text[:start] + draw(st.text(max_size=3)) + text[start:]
    return text


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger expressions from smaller ones."""
    binary = ["+", "-", "*", "/", "//", "%", "@", "**", "==", "<", "in", "not in", "and", "or"]
    call = st.sampled_from(["f(x)", "g.h()", "k[0](1, a=2)", "m(\n*xs,\n)"])
    label = st.sampled_from(["", "", "a: ", '"b.{i}": ', "frozen ", "frozen c: "])
    when = st.sampled_from(["", "", " when x > 0"])
    stage = st.builds(
        lambda break_, label, call, when: f"{break_}-> {label}{call}{when}", breaks, label, call, when
    )
    operand = st.one_of(atoms, inner.map("({})".format))
    return st.one_of(
        st.builds(lambda a, op, b: f"{a} {op} {b}", operand, st.sampled_from(binary), operand),
        st.builds(
            lambda op, parts: f" {op} ".join(parts), st.sampled_from(binary), st.lists(atoms, min_size=2)
        ),
        st.builds(lambda sign, a: f"{sign}{a}", st.sampled_from(["-", "+", "not "]), operand),
        st.builds(lambda a, b, c: f"{a} if {b} else {c}", operand, operand, operand),
        st.builds(lambda a, stages: a + "".join(stages), operand, st.lists(stage, min_size=1, max_size=6)),
        st.builds(lambda gap, a: f"({gap}{a}{gap})", breaks, inner),
        st.builds(lambda gap, items: f"[{gap}{f',{gap}'.join(items)}]", breaks, st.lists(inner, max_size=3)),
        st.builds(lambda gap, items: f"({gap}{f',{gap}'.join(items)},)", breaks, st.lists(inner, min_size=1)),
        st.builds(
            lambda a, b: f"[{a} for i, j in {b}]", inner, st.sampled_from(["x", "range(3)", "x -> f() if y"])
        ),
        st.builds(
            lambda gap, a, b: f"{{{gap}p = {a},{gap}q, r = {b}}}",
            breaks,
            inner,
            inner,
        ),
        st.builds(lambda a, b: f"x[{a}:{b}]", inner, inner),
        st.builds(lambda a: '"text {' + ("x" if "\n" in a else a) + '} text"', inner),
        st.builds(lambda a, b: f"f({a}, k={b})", inner, inner),
    )


breaks = st.sampled_from([" ", "", "\n", " # why\n", "\n\n    # own\n  "])
atoms = st.sampled_from(
    ["x", "B", "12", "4.09G", "0.5", '"text"', "none", "true", "f(x)", "x.y", "{p, q}", "[]", "a[1:]"]
)
expressions = st.recursive(atoms, _extend, max_leaves=12)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file of statements around random expressions."""
    statements = draw(st.lists(st.tuples(st.integers(0, 6), expressions), min_size=1, max_size=4))
    lines = ["planform 1", "block f(x: tensor, n: int = 1) {"]
    for kind, value in statements:
        lines.append(
            (
                f"y = {value}",
                f"a, b = {value}, x",
                f"if x {{ y = {value} }} else {{ y = x }}",
                f"if x {{\ny = {value}\n}}\n# comment\n\nelse {{ y = x }}",
                f"for i in x {{ y = {value} # end\n}}",
                f"y: [B, *S] = {value}  # trailing",
                f"\n\n# own\nreturn {value}",
            )[kind]
        )
    lines.append("}")
    cells = draw(st.lists(expressions.filter(lambda text: "#" not in text), min_size=2, max_size=2))
    return "\n".join([*lines, "table t {", "  a | b", f"  {' | '.join(cells)}", "}", ""])


KINDS = {"soup": soups, "damaged": damaged(), "whole": files(), "text": st.text(max_size=200)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_is_read_or_refused(kind: str) -> None:
    GATE(given(KINDS[kind])(read))()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_texts_are_read_or_refused(kind: str) -> None:
    SWEEP(given(KINDS[kind])(read))()


@settings(max_examples=100)
@given(files())
def test_generated_files_are_valid(text: str) -> None:
    """So that the generator tests the formatter and not only the diagnostics."""
    parse(Source("generated.plan", text))


# ---------------------------------------------------------------- growth

REPEATED: dict[str, Callable[[int], str]] = {
    "lines": lambda n: "planform 1\n" + "K = [1, 2] # comment\n" * n,
    "comments": lambda n: "planform 1\n" + "# comment\n\n" * n + "K = 1",
    "line breaks before an arrow": lambda n: "planform 1\nK = x" + "\n # comment\n" * n + "-> f()",
    "stages": lambda n: "planform 1\nK = x" + " -> f()" * n,
    "signs": lambda n: "planform 1\nK = " + "-" * n + "1",
    "sums": lambda n: "planform 1\nK = 1" + " + 1" * n,
    "powers": lambda n: "planform 1\nK = 1" + "**1" * n,
    "conditionals": lambda n: "planform 1\nK = 1" + " if 1 else 1" * n,
    "brackets": lambda n: "planform 1\nK = " + "[" * n,
    "quotes": lambda n: "planform 1\nK = " + '"{' * n,
    "indices": lambda n: "planform 1\nK = x" + "[0]" * n,
    "broken items": lambda n: "planform 1\n" + "block f(\n" * n,
    "one word": lambda n: "planform 1\nK = " + "x" * n,
    "one number": lambda n: "planform 1\nK = " + "1" * n,
    "blanks": lambda n: "planform 1\n" + " " * n + "K" + " \t" * n + "= 1",
    "one-line bodies": lambda n: "planform 1\nblock f(x: tensor) {" + " if x { y = x }\n" * n + "}",
    "else if": lambda n: "planform 1\nblock f(x: tensor) { if x {}" + " else if x {}" * n + "}",
    "table": lambda n: "planform 1\ntable t {\n a | b\n" + " 1 | [2,\n3]\n" * n + "}",
}


@pytest.mark.parametrize("kind", REPEATED)
def test_time_grows_with_length_alone(kind: str) -> None:
    """Thousands of repetitions are read, or refused, and formatted in a few seconds and without deep recursion."""

    def seconds(count: int) -> float:
        source = Source("long.plan", REPEATED[kind](count))
        with Stopwatch() as watch:
            try:
                format_source(source)
            except PlanError as error:
                render_all(error.diagnostics)
        return watch.seconds

    seconds(10)
    short, long = seconds(500), seconds(5000)
    assert long < 25 * short + 0.1
