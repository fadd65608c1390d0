"""Untrusted text: whatever a file holds, checking it ends in time with diagnostics and never with a traceback."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import pytest

from planform import PlanError
from planform.api.locate import EXAMPLES
from planform.api.plan_file import PlanFile
from planform.dsl.render import render, to_json
from support.timing import Stopwatch

PLANS = sorted(EXAMPLES.glob("*/*.plan"))
TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\"[^\"\n]*\"|->|[^\w\s]|\n")
WORDS = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "->",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "@",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    ".",
    "...",
    "|",
    "#",
    '"',
    "block",
    "model",
    "inline",
    "plan",
    "claim",
    "budget",
    "table",
    "use",
    "about",
    "return",
    "if",
    "else",
    "for",
    "in",
    "range",
    "require",
    "param",
    "buffer",
    "shared",
    "frozen",
    "const",
    "as",
    "at",
    "within",
    "from",
    "and",
    "or",
    "not",
    "is",
    "none",
    "true",
    "false",
    "when",
    "mode",
    "train",
    "eval",
    "shape",
    "tap",
    "scan",
    "conv",
    "linear",
    "0",
    "1",
    "2",
    "3",
    "7",
    "64",
    "1e9",
    "2**63",
    "99999999999",
    "0.5",
    "-1",
    "x",
    "y",
    "i",
    "B",
    "C",
    "H",
    "W",
    "relu",
    "batch_norm",
    "concat",
    "reshape",
    "sum",
    "max",
    "len",
    "enumerate",
]


def with_one_plan(text: str) -> str:
    """A file with its first plan alone, and the claims about it, so that many edits can be tried."""
    names = re.findall(r"^plan (\w+)", text, re.MULTILINE)
    kept: list[str] = []
    for line in text.splitlines(keepends=True):
        subject = re.match(r"(?:plan|claim|budget) (\w+)", line)
        if subject is None or subject.group(1) == names[0] or subject.group(1) not in names:
            kept.append(line)
    return "".join(kept)


@cache
def unchanged(plan: Path) -> str:
    """An example as it is edited."""
    return with_one_plan(plan.read_text(encoding="utf-8"))


def mutate(text: str, rng: random.Random) -> str:
    """A few random edits of a text, at its tokens."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        spans = [match.span() for match in TOKEN.finditer(text)]
        start, end = spans[rng.randrange(len(spans))]
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:start] + text[end:]
        elif kind == 1:
            text = text[:start] + rng.choice(WORDS) + text[end:]
        elif kind == 2:
            text = text[:start] + rng.choice(WORDS) + " " + text[start:]
        elif kind == 3:
            other = spans[rng.randrange(len(spans))]
            text = text[:start] + text[slice(*other)] + text[end:]
        else:
            at = text.find("\n", start) + 1
            to = text.find("\n", at) + 1
            text = text[:at] + text[to:] + text[at:to]
    return text


def check(path: Path, text: str) -> float:
    """Check a text as a file; every diagnostic can be shown. Seconds taken."""
    path.write_text(text, encoding="utf-8")
    with Stopwatch() as watch:
        try:
            found = PlanFile(path).check().diagnostics
        except PlanError as error:
            found = error.diagnostics
            assert found
        for diagnostic in found[:20]:
            assert render(diagnostic) and to_json(diagnostic)
    return watch.seconds


def sweep(folder: Path, cases: int, seed: int, seconds: float) -> None:
    """Check mutations of every example in turn."""
    (folder / "pyproject.toml").touch()
    for number in range(cases):
        rng = random.Random(f"{seed}:{number}")
        plan = PLANS[number % len(PLANS)]
        text = mutate(unchanged(plan), rng)
        try:
            taken = check(folder / "net.plan", text)
        except Exception as error:
            raise AssertionError(f"{plan.name}, seed {seed}:{number}: {error!r}\n{text}") from error
        if taken > seconds:
            # A large network takes its time, and so does one that an edit makes larger: 5,000 layers where there
            # were 20.
            allowed = seconds + 3 * check(folder / "net.plan", unchanged(plan))
            taken = min(taken, check(folder / "net.plan", text))
            assert taken < allowed, f"{plan.name}, seed {seed}:{number} took {taken:.1f} s\n{text}"


@pytest.mark.parametrize("seed", range(4))
def test_mutated_examples_are_checked_without_a_traceback(seed: int, tmp_path: Path) -> None:
    sweep(tmp_path, 125, seed, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_mutated_examples_are_checked_without_a_traceback(seed: int, tmp_path: Path) -> None:
    sweep(tmp_path, 1000, seed, 2.0)
