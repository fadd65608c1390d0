"""Every plan of the atlas and the library: canonical layout, no diagnostics, all claims hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from planform.api.locate import examples
from planform.api.plan_file import PlanFile
from planform.dsl.format import format_source
from planform.dsl.loader import Loader
from planform.dsl.render import render_all

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "dsl/std").glob("*.plan"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.plan"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*LIBRARY, *EXAMPLES], ids=named)
def test_layout_is_canonical(path: Path) -> None:
    assert format_source(Loader().read(path)) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_example_holds_what_it_claims(path: Path) -> None:
    file = PlanFile(path)
    report = file.check()
    assert not report.diagnostics, render_all(report.diagnostics)
    assert report.ok
    if "paper" in file.scope.about:
        counted = {claim.plan for claim in report.claims if claim.claim.metric.span.text.startswith("params")}
        missing = sorted(set(file.plans) - counted)
        assert not missing, f"no claim about the parameters of {', '.join(missing)}"
        quoted = [claim for claim in report.claims if claim.claim.kind == "claim"]
        assert all(claim.claim.source_note for claim in quoted), "a claim without its source"


@pytest.mark.parametrize("path", LIBRARY, ids=named)
def test_library_file_reads(path: Path) -> None:
    file = PlanFile(path)
    assert file.scope.names
    assert not file.plans


def test_examples_are_found_by_the_package() -> None:
    assert examples() == EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_example_has_a_title(path: Path) -> None:
    assert PlanFile(path).scope.about["title"]
