"""Plans that ask for too much end in their diagnostic, within seconds and a gigabyte.

`make test` checks all of them with a small account of work, and those that once ran away with the real one;
`make test-all` runs every command on each, in a process whose memory and time the system bounds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planform import PlanError
from planform.api.plan_file import PlanFile
from planform.dsl import limits
from planform.dsl.format import format_source
from planform.dsl.render import render_all
from planform.dsl.source import Source
from support import bounds
from support.hostile import CASES
from support.hostile_sizes import SIZE_CASES
from support.timing import Stopwatch

SECONDS = 5
RAN_AWAY = [
    "long texts in a list",
    "sums of ranges",
    "a million cells",
    "nested equalities in a loop",
    "equal lists within lists",
    "a range of a huge number",
    "constants on constants",
]


class Children:
    """A process that runs command lines in children, each with limits of its own."""

    def __init__(self, *modules: str) -> None:
        command = [sys.executable, bounds.__file__, json.dumps(modules)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments: str, seconds: int = 4 * SECONDS) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"arguments": arguments, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children()
    yield made
    made.close()


@pytest.fixture(scope="module")
def children_with_torch() -> Iterator[Children]:
    made = Children("torch", "planform.backends.torch")
    yield made
    made.close()


def codes(text: str) -> list[str]:
    return re.findall(r"^error\[([A-Z]\d+)\]", text, re.MULTILINE)


def told(found: dict[str, Any], code: str | None) -> None:
    """The run ended in time, in the diagnostic or well."""
    assert found["seconds"] < SECONDS, found
    assert found["code"] == (0 if code is None else 1), found
    assert codes(found["text"])[:1] == ([] if code is None else [code]), found


# How long a file may be is not scaled: those of such a length are for the slow test.
SCALED = [name for name, case in CASES.items() if case.code != "E004" and len(case.text()) <= 600_000]


@pytest.mark.parametrize("name", SCALED)
def test_a_hostile_plan_ends_in_its_diagnostic(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_WORK", limits.MAX_WORK // 20)
    case = CASES[name]
    (tmp_path / "net.plan").write_text(case.text(), encoding="utf-8")
    with Stopwatch() as watch:
        try:
            found = PlanFile(tmp_path / "net.plan").check().diagnostics
        except PlanError as error:
            found = error.diagnostics
        assert len(render_all(found)) < 100_000
    # Work that is not paid for stays visible with a small account.
    assert watch.seconds < 2
    assert [each.code for each in found][:1] == ([] if case.code is None else [case.code])


@pytest.mark.parametrize("name", RAN_AWAY)
def test_plans_that_once_ran_away_are_bounded(name: str, children: Children, tmp_path: Path) -> None:
    (tmp_path / "net.plan").write_text(CASES[name].text(), encoding="utf-8")
    told(children.run("check", str(tmp_path / "net.plan")), CASES[name].code)


@pytest.mark.parametrize("name", ["remainders", "polynomials", "a chain of orders", "a minimum of hundreds"])
def test_proofs_and_formulas_are_bounded(name: str, children: Children, tmp_path: Path) -> None:
    (tmp_path / "net.plan").write_text(SIZE_CASES[name].text(), encoding="utf-8")
    told(children.run("check", str(tmp_path / "net.plan")), SIZE_CASES[name].code)


def test_formulas_that_take_long_to_factor_are_written_as_they_are(
    children: Children, tmp_path: Path
) -> None:
    (tmp_path / "net.plan").write_text(SIZE_CASES["down and up"].text(), encoding="utf-8")
    told(children.run("cost", str(tmp_path / "net.plan")), None)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZE_CASES)
def test_every_command_is_bounded_at_free_sizes(name: str, children: Children, tmp_path: Path) -> None:
    case, path = SIZE_CASES[name], tmp_path / "net.plan"
    path.write_text(case.text(), encoding="utf-8")
    told(children.run("check", str(path)), case.code)
    for command in (
        ["fmt", "--check"],
        ["cost"],
        ["graph"],
        ["memory"],
        ["fuse"],
        ["compile", "--emit", "graph"],
    ):
        found = children.run(*command, str(path))
        assert found["seconds"] < SECONDS and found["code"] in (0, 1, 2), (command, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_command_is_bounded(name: str, children: Children, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "net.plan"
    path.write_text(case.text(), encoding="utf-8")
    told(children.run("check", str(path)), case.code)
    for command in (["fmt", "--check"], ["cost"], ["graph"], ["memory"], ["compile", "--emit", "graph"]):
        found = children.run(*command, str(path))
        assert found["seconds"] < SECONDS and found["code"] in (0, 1, 2), (command, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.code is None])
def test_what_is_legal_is_emitted(name: str, children_with_torch: Children, tmp_path: Path) -> None:
    path = tmp_path / "net.plan"
    path.write_text(CASES[name].text(), encoding="utf-8")
    found = children_with_torch.run("compile", str(path), "-o", str(tmp_path / "net.py"), seconds=60)
    assert found["code"] in (0, 1), found


def test_a_broken_value_that_nothing_uses_is_told_of() -> None:
    with pytest.raises(PlanError) as caught:
        PlanFile.from_text("planform 1\nK = 1 + 1 // 0\n").plan()
    assert [each.code for each in caught.value.diagnostics] == ["E202"]


def test_records_of_a_long_line_are_broken_in_one_pass() -> None:
    lines = "planform 1\nK = [" + "{a = 1, b = {c = 2}}, " * 1000 + "]\n"
    with Stopwatch() as watch:
        result = format_source(Source("net.plan", lines))
    assert watch.seconds < 2
    assert format_source(Source("net.plan", result)) == result
    # The last records fit on the line together.
    assert max(len(line) for line in result.splitlines()) <= 120


def test_the_account_leaves_room() -> None:
    """The largest file that comes with the package takes about half of what a file may."""
    from planform.api.locate import EXAMPLES
    from planform.dsl.budget import Budget

    budget = Budget()
    file = PlanFile(EXAMPLES / "convnets" / "nfnet.plan")
    for name in file.plans:
        file.program(name, budget=budget)
    assert limits.MAX_WORK // 10 < limits.MAX_WORK - budget.left < limits.MAX_WORK * 6 // 10


def test_a_name_of_a_million_letters_has_no_near_ones() -> None:
    from planform.dsl.suggest import did_you_mean

    with Stopwatch() as watch:
        assert did_you_mean("x" * 1_000_000, ["y" * 1_000_000, "xx"]) == []
    assert watch.seconds < 0.1
