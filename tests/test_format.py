"""The canonical layout: what it looks like, and that it changes nothing but layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from planform.dsl.diagnostics import PlanError
from planform.dsl.format import WIDTH, format_source
from planform.dsl.parser import parse
from planform.dsl.source import Source
from support.trees import outline

DATA = Path(__file__).parent / "data" / "syntax"
SAMPLES = sorted(DATA.glob("*.plan"))


def formatted(text: str) -> str:
    return format_source(Source("a.plan", text))


def check(text: str) -> str:
    """Format, and hold that the tree and the comments are the same and that formatting again changes nothing."""
    result = formatted(text)
    before, after = parse(Source("a.plan", text)), parse(Source("a.plan", result))
    assert outline(after) == outline(before)
    letters = ["".join(comment.text.split()) for comment in before.comments]
    assert ["".join(comment.text.split()) for comment in after.comments] == letters
    assert formatted(result) == result
    return result


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert check(text) == text


def test_untidy_text_becomes_tidy() -> None:
    untidy = (DATA / "untidy.txt").read_bytes().decode()
    assert check(untidy) == (DATA / "untidy.formatted.plan").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_blanks_do_not_matter(path: Path) -> None:
    """Without indentation and with doubled blanks the same layout results, columns of pipes aside."""
    text = path.read_text(encoding="utf-8")
    stripped = "\n".join(line.strip() for line in text.splitlines())
    assert check(stripped).split() == text.split()
    assert check(text.replace("\n", "\n\n\n\n")).split() == text.split()


def lines(*parts: str) -> str:
    return "".join(f"{part}\n" for part in ("planform 1", *parts))


def test_pipes_align_and_keep_the_columns_of_the_author() -> None:
    aligned = lines(
        "block f(x: tensor) {",
        "    y = x -> a: f()           -> b: g() -> relu()",
        "          -> long: ff(1, 2)   -> c: g() -> relu()",
        "    return y",
        "}",
    )
    assert check(aligned) == aligned.replace("f()           ->", "f()         ->").replace("2)   ->", "2) ->")
    ragged = aligned.replace("f()           ->", "f() ->")
    assert "f() -> b: g() -> relu()\n" in check(ragged)


def test_plans_and_claims_keep_the_columns_of_the_author() -> None:
    aligned = lines(
        "plan small  = net(1)",
        "plan medium = net(22) at (B=1)",
        'claim small:  params          == 1  from "a"',
        'claim medium: macs at (B=100) == 22 from "b"',
    )
    assert check(aligned) == aligned
    ragged = aligned.replace("params   ", "params ")
    assert "params == 1 from" in check(ragged)


def test_long_pipes_break_before_each_arrow() -> None:
    text = lines("K = x " + "-> stage(1, 2, 3) " * 10)
    result = check(text)
    assert max(map(len, result.splitlines())) <= WIDTH
    assert result.count("\n      -> stage(1, 2, 3)") == 9


def test_long_bodies_and_records_spread() -> None:
    fields = ", ".join(f"field_{i} = {i}" for i in range(12))
    assert check(lines(f"K = {{{fields}}}")).count("\n    field_") == 12
    body = "a = 1"
    for i in range(8):
        body = f"if condition_{i} {{ {body} }}"
    assert max(map(len, check(lines(f"block f(x: tensor) {{ {body} }}")).splitlines())) <= WIDTH


def test_tables_align() -> None:
    text = lines("table t {", "a|bbb|c", "# own", '100|f( 1,2 )|"x|y" # end', "", "1|2|{a=1}", "}")
    assert check(text) == lines(
        "table t {",
        "    a   | bbb     | c",
        "    # own",
        '    100 | f(1, 2) | "x|y"  # end',
        "",
        "    1   | 2       | {a = 1}",
        "}",
    )


def test_a_comment_within_a_cell_stays() -> None:
    assert "# why" in check(lines("table t {", "a | b", "1 | [2, # why", "3]", "}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("K=-1+-x*-(y)", "K = -1 + -x * -(y)"),
        ("K=f( *xs,a = 1 ) [ 1 : ] . b", "K = f(*xs, a=1)[1:].b"),
        ("K=a  if  b  else  {c=1}", "K = a if b else {c = 1}"),
        ('K="a  {f( 1 )}  b"', 'K = "a  {f( 1 )}  b"'),
        ("K=[a:f( x ) for a , b in c]", "K = [a: f(x) for a, b in c]"),
        ("plan p=f()at(B=1)", "plan p = f() at (B=1)"),
        ('claim p:macs<=4G within 0.5 %from "x"', 'claim p: macs <= 4G within 0.5% from "x"'),
        (
            "block f(x:[ B ,*S],n:int=3,m=2)->( tensor,)  {}",
            "block f(x: [B, *S], n: int = 3, m=2) -> (tensor,) {}",
        ),
        ("use std(a,b)", "use std (a, b)"),
        ("K = 1#why", "K = 1  # why"),
        ("K = a % b", "K = a % b"),
        ("K=x[:,:,1 :,: 2,... ,::2]", "K = x[:, :, 1:, :2, ..., ::2]"),
    ],
)
def test_spacing(text: str, expected: str) -> None:
    assert check(lines(text)) == lines(expected)


def test_mistakes_are_reported_not_formatted() -> None:
    with pytest.raises(PlanError):
        formatted("planform 1\nK = (\n")
