"""Within a layer, rooms stand in an order, and a room imports only from those before it."""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath
from typing import Any

import networkx
import pytest
from test_layers import ROOT, imported, sources

# The rooms of a layer, each of which may import those before it; "" are the files beside the rooms.
ROOMS = {
    "compiler": ("sizes", "", "devices", "ops", "graph", "cost", "rewriting", "fusion", "memory", "drawing"),
    "backends/tvm": ("runtime", "grouping", "tensor_ir", "cpu", "lowering", "codegen", "cuda", ""),
}

# Files beside the rooms that all of them may import: they import nothing of the layer themselves.
SHARED = {
    "backends/tvm/errors.py",
    "backends/tvm/target.py",
    "compiler/dtypes.py",
    "compiler/errors.py",
    "compiler/names.py",
}

# An import against the order, and why.
EXCEPTIONS = {
    # A plan that was never linked is not saved: looking for the C compiler says why it was not.
    ("backends/tvm/runtime/compiled.py", "backends/tvm/codegen/link.py"),
}


class _WithoutTypes(ast.NodeTransformer):
    """Leaves out what is imported for types alone."""

    def visit_If(self, node: ast.If) -> Any:
        return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


def edges(path: str, top: bool = False) -> set[str]:
    """The files of ours that a file imports when it runs, or when it is loaded (`top`)."""
    tree = _WithoutTypes().visit(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    if top:
        tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = (file_of(module) for _, ours, module in imported(path, tree) if ours)
    return {target for target in found if target is not None and target != path}


def file_of(module: tuple[str, ...]) -> str | None:
    """The file of a module, or of the module that a name belongs to."""
    for parts in (module, module[:-1]):
        for name in ("/".join(parts) + ".py", "/".join((*parts, "__init__.py"))):
            if parts and (ROOT / name).is_file():
                return name
    return None


def room_of(path: str, layer: str) -> str:
    """The room of a file within a layer."""
    inner = PurePosixPath(path).relative_to(layer).parts
    return inner[0] if len(inner) > 1 else ""


@pytest.mark.parametrize("layer", ROOMS)
def test_a_room_imports_the_rooms_before_it(layer: str) -> None:
    order = ROOMS[layer]
    files = [path for path in sources() if path.startswith(layer + "/")]
    assert {room_of(path, layer) for path in files} == set(order)
    wrong = [
        f"{path} imports {target}"
        for path in files
        if path not in SHARED and path != f"{layer}/__init__.py"
        for target in edges(path)
        if target.startswith(layer + "/") and target not in SHARED
        if (path, target) not in EXCEPTIONS
        and order.index(room_of(target, layer)) > order.index(room_of(path, layer))
    ]
    assert wrong == []


def test_what_all_rooms_share_needs_none() -> None:
    assert {target for path in SHARED for target in edges(path)} <= SHARED


def test_no_files_import_each_other() -> None:
    graph: Any = networkx.DiGraph((path, target) for path in sources() for target in edges(path, top=True))
    assert [sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1] == []


@pytest.mark.parametrize("room", ["runtime", "grouping"])
def test_rooms_without_the_compiler_of_kernels(room: str) -> None:
    for path in sources():
        if not path.startswith(f"backends/tvm/{room}/") or path.endswith("/libraries.py"):
            continue
        tree = _WithoutTypes().visit(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        assert "tvm" not in {module[0] for _, ours, module in imported(path, tree) if not ours}, path


def test_files_of_modules() -> None:
    assert file_of(("compiler", "sizes", "dims", "Size")) == "compiler/sizes/dims.py"
    assert file_of(("backends", "torch", "emit")) == "backends/torch/emit/__init__.py"
    assert file_of(("nowhere", "at", "all")) is None
    assert Path(ROOT / "compiler/sizes/dims.py").is_file()
