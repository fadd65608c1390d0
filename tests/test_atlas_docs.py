"""docs/atlas.md says what the plans are: every file has an entry, and the lines are counted rightly."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from planform.api.locate import EXAMPLES, examples
from planform.api.plan_file import PlanFile

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def docs() -> Iterator[ModuleType]:
    """The module docs/atlas.py, which is a script's and in no package."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield import_module("atlas")
    sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def lengths(docs: ModuleType) -> ModuleType:
    return import_module("lengths")


def book(docs: ModuleType) -> Any:
    return docs.Book.read(docs.REFERENCES.read_text(encoding="utf-8"))


def test_every_plan_file_has_an_entry(docs: ModuleType) -> None:
    files = {path.relative_to(EXAMPLES).as_posix() for path in examples()}
    known = set(book(docs).plans)
    assert not files - known, f"docs/references.toml says nothing of {', '.join(sorted(files - known))}"
    assert not known - files, (
        f"docs/references.toml has {', '.join(sorted(known - files))}, which are no files"
    )


def test_entries_are_complete(docs: ModuleType) -> None:
    found = book(docs)
    for name, entry in found.plans.items():
        assert entry.verified, name
        assert entry.tests, name
        for test in entry.tests:
            assert (ROOT / test).is_file(), f"{name}: {test}"
        if entry.source is None:
            assert entry.note, f"{name} has no reference and does not say why"
            assert entry.lines is None, name
        else:
            assert entry.source in found.sources, name
            assert entry.lines, f"{name}: count its reference with python docs/generate.py --references"
            assert entry.classes, name


def test_tests_are_about_the_plan_that_names_them(docs: ModuleType) -> None:
    for name, entry in book(docs).plans.items():
        text = "".join((ROOT / test).read_text(encoding="utf-8") for test in entry.tests)
        plans = PlanFile(EXAMPLES / name).plans
        assert any(word in text for word in (name, Path(name).name, Path(name).stem, *plans)), name


def test_installed_references_are_counted_anew(docs: ModuleType) -> None:
    text = docs.REFERENCES.read_text(encoding="utf-8")
    assert docs.recounted(text) == text
    for name, source in book(docs).sources.items():
        if "version" in source:
            assert version(name) == source["version"]


def test_recount_changes_the_lines_of_one_entry(docs: ModuleType) -> None:
    text = docs.REFERENCES.read_text(encoding="utf-8")
    wrong = re.sub(r'(\[plans\."convnets/dla\.plan"\]\nsource = "timm"\nlines = )371', r"\g<1>1", text)
    assert wrong != text
    assert docs.recounted(wrong) == text


PYTHON = '''
"""Docstring of the module."""


@decorator  # 1
class A:  # 2
    """One line."""

    # a comment
    x = """text, not
    documentation
    """  # 5: three lines

    def f(
        self,
    ):  # 8: three lines
        """Two

        lines."""
        return [
            1,  # one

            2,
        ]  # 12: four lines without the blank


def g():  # 1
    return 1  # 2
'''

PLAN = """planform 1

# Not code.
about {
    title = "t"  # three lines of `about`
}

block a(x: [B, C]) {

    # not code
    return x -> relu()
             -> relu()
}

model net(x: [B, C]) {
    return a(x)
}

plan p = net()

claim p: params == 0 from "none"
"""


def test_lines_of_python(lengths: ModuleType) -> None:
    assert lengths.python_lines(PYTHON, ["A"]) == 12
    assert lengths.python_lines(PYTHON, ["g"]) == 2
    assert lengths.python_lines(PYTHON, ["A", "g"]) == 14
    with pytest.raises(KeyError, match="B"):
        lengths.python_lines(PYTHON, ["B"])


def test_lines_of_a_plan(lengths: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "p.plan").write_text(PLAN, encoding="utf-8")
    lines = lengths.plan_lines(tmp_path / "p.plan")
    assert (lines.all, lines.network) == (13, 9)


def test_all_lines_of_the_examples_are_counted(lengths: ModuleType) -> None:
    for path in examples():
        text = path.read_text(encoding="utf-8").split("\n")
        code = [line for line in text if line.strip() and not line.lstrip().startswith("#")]
        assert lengths.plan_lines(path).all == len(code), path


def test_library_that_few_files_use_is_theirs(lengths: ModuleType, tmp_path: Path) -> None:
    """`transformer_block` needs `self_attention`, `mlp` and `layer_scale`, which bring `token_linear`."""
    paths = []
    for i in range(3):
        uses = "transformer_block" if i < 2 else "mlp"
        paths.append(tmp_path / f"{i}.plan")
        paths[-1].write_text(f"planform 1\nuse std ({uses})\n", encoding="utf-8")
    own = lengths.own_library(paths)
    assert sorted(own[paths[0]]) == ["layer_scale", "self_attention", "transformer_block"]
    assert own[paths[0]] == own[paths[1]]
    assert own[paths[2]] == {}
