"""All that is raised on purpose is a `PlanformError`."""

from __future__ import annotations

import ast
import builtins
import errno
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from test_layers import ROOT, sources

import planform
from planform.compiler import files
from planform.compiler.errors import FileError

BUILTIN = {
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
# Rooms whose callers are people: what these raise is for them, and not for who works on the compiler.
FACES = ("api/", "backends/", "cli/", "reports/")
# What Python's own protocols ask for, and what says that a line is never reached.
OF_PYTHON = {"AssertionError", "SystemExit", "AttributeError", "IndexError", "ModuleNotFoundError"}
# Files that run without planform, or that make such.
ALONE = {"backends/torch/contract.py", "backends/torch/emit/__init__.py"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    """The files of the package, parsed."""
    for path in sources():
        yield path, ast.parse((ROOT / path).read_text(encoding="utf-8"))


def exception_classes() -> Iterator[tuple[str, type[BaseException]]]:
    """All classes of exceptions that the package defines, by file; found by the text of their bases."""
    names = set(BUILTIN)
    classes = [
        (path, node, {base.split(".")[-1] for base in map(ast.unparse, node.bases)})
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    while True:
        more = {node.name for _, node, bases in classes if bases & names} - names
        if not more:
            break
        names |= more
    for path, node, bases in classes:
        if bases & names:
            module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            yield path, getattr(import_module(f"planform.{module}"), node.name)


def test_every_class_of_exceptions_is_a_planform_error() -> None:
    found = list(exception_classes())
    names = {kind.__name__ for _, kind in found}
    assert {"PlanError", "InputError", "ShapeError", "BuildError", "FileError", "CheckpointError"} <= names
    assert len(found) > 30
    assert [(path, kind) for path, kind in found if not issubclass(kind, planform.PlanformError)] == []


def test_faces_raise_no_class_of_python() -> None:
    wrong: list[str] = []
    for path, tree in trees():
        if path in ALONE or not path.startswith(FACES):
            continue
        for node in ast.walk(tree):
            name = node.exc.func if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) else None
            if isinstance(name, ast.Name) and name.id in BUILTIN - OF_PYTHON:
                wrong.append(f"{path}:{node.lineno}: {name.id}")
    assert wrong == []


TEXT = "planform 1\nmodel net(x: [B, 4]) {\n    return x -> fc: linear(2)\n}\nplan p = net()\n"


def model() -> planform.Model:
    return planform.Model(planform.PlanFile.from_text(TEXT), "p", {})


@pytest.mark.parametrize(
    ("call", "also"),
    [
        (lambda: planform.load("no such plan"), FileNotFoundError),
        (lambda: planform.load("none.plan"), FileNotFoundError),
        (
            lambda: planform.PlanFile.from_text("planform 1\nplan p = net()\n").program("p"),
            planform.PlanError,
        ),
        (lambda: model().graph_in("test"), ValueError),  # pyright: ignore[reportArgumentType]
        (lambda: model().cost(float_as="f8"), ValueError),
        (lambda: model().cost(depth=3), planform.PlanError),
        (lambda: model().memory(), ValueError),  # B is not bound
        (lambda: model().cost().macs("some"), ValueError),
        (lambda: model().to_torch(device="meta").eval()(3), ValueError),
        (lambda: model().to_torch(device="meta", state_dict={}), ValueError),
        (lambda: model().to_tvm(target="no machine"), Exception),
        (lambda: planform.load_compiled(Path(__file__)), Exception),
        (lambda: files.read_text("/dev/null\0"), OSError),
    ],
)
def test_what_callers_do_wrong_is_a_planform_error(call: Callable[[], Any], also: type[Exception]) -> None:
    with pytest.raises(planform.PlanformError) as caught:
        call()
    assert isinstance(caught.value, also)
    assert str(caught.value)


def test_errors_of_files_keep_what_the_system_calls_them(tmp_path: Path) -> None:
    large = tmp_path / "large.plan"
    large.write_bytes(b" " * (files.TEXT + 1))
    with pytest.raises(FileError) as caught:
        planform.PlanFile(large)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(large))
