"""Imports point one way only: see "Where things live" in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {"tests", "examples", "benchmarks", "docs", "editors", "build", "dist"}

# The layers of ours that each may import besides itself. A module of the root (layer "") may import all.
OURS = {
    "grammar": set[str](),
    "compiler": set[str](),
    "dsl": {"grammar", "compiler"},
    "backends": {"compiler"},
    "": {"grammar", "compiler", "dsl", "backends"},
}

# The other projects that the files under a path may import; the longest path that fits decides.
THEIRS = {
    "grammar": {"lark"},
    "compiler": {"networkx"},
    "compiler/sizes/polynomials.py": {"sympy"},  # loaded to factor or divide
    "dsl": {"lark"},
    "backends": set[str](),
    "backends/torch": {"torch", "safetensors", "numpy"},
    "backends/tvm": {"tvm", "tvm_ffi", "numpy"},
    "": {"networkx", "numpy", "PIL", "rich", "safetensors", "typer"},
}

# What `compiler/sizes/dims.py` loads when the first symbol is made.
AT_THE_FIRST_SYMBOL = {
    f"compiler/sizes/{name}.py"
    for name in ("algebra", "expressions", "facts", "polynomials", "proofs", "walks")
}


def sources() -> list[str]:
    """Every Python file of the package, as a path from the root."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return sorted(p.as_posix() for p in found if p.parts[0] not in OUTSIDE and not p.parts[0].startswith("."))


def layer_of(module: tuple[str, ...]) -> str:
    """The layer of a module given by its parts below the root: its first folder, or "" for the root."""
    return module[0] if module and module[0] in OURS else ""


def imported(path: str, tree: ast.AST) -> Iterator[tuple[int, bool, tuple[str, ...]]]:
    """Each import of a file: its line, whether the module is ours, and the module's parts.

    The parts of a module of ours are those below the root.
    """
    package = PurePosixPath(path).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, False, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if not node.level:
                yield node.lineno, False, module
                continue
            base = package[: len(package) - node.level + 1]
            for alias in node.names:
                yield node.lineno, True, (*base, *module, alias.name)
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            level = len(name) - len(name.lstrip("."))
            base = package[: len(package) - level + 1] if level else ()
            yield node.lineno, bool(level), (*base, *name[level:].split("."))


def imported_by_call(call: ast.Call) -> str:
    """The module that `import_module("...")` or `__import__("...")` names literally, or ""."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if function not in {"import_module", "__import__"} or not call.args:
        return ""
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def violations(path: str, text: str) -> list[str]:
    """What a file imports and may not."""
    layer = layer_of(PurePosixPath(path).parts)
    allowed = THEIRS[max((p for p in THEIRS if not p or path == p or path.startswith(p + "/")), key=len)]
    found: list[str] = []
    for line, ours, module in imported(path, ast.parse(text)):
        if ours:
            target = layer_of(module)
            # `from . import __version__` from below reaches into the root, which no layer may.
            wrong = target != layer and target not in OURS[layer]
        else:
            top = module[0]
            wrong = top not in sys.stdlib_module_names and top not in allowed
        if wrong:
            found.append(f"{path}:{line}: {'.'.join(module)}")
    return found


def test_there_are_sources() -> None:
    assert {"__init__.py", "compiler/__init__.py", "dsl/__init__.py"} <= set(sources())


@pytest.mark.parametrize("path", sources())
def test_imports_point_one_way(path: str) -> None:
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("compiler/graph/graph.py", "import torch"),
        ("compiler/graph/graph.py", "def f():\n    import numpy as np"),
        ("compiler/graph/graph.py", "from sympy import Symbol"),
        ("compiler/graph/graph.py", "sympy = importlib.import_module('sympy')"),
        ("compiler/graph/graph.py", "torch = __import__('torch')"),
        ("compiler/graph/graph.py", "source = import_module('...dsl.source', __package__)"),
        ("compiler/graph/graph.py", "from ...dsl.source import Span"),
        ("compiler/ops/linear.py", "from ... import __version__"),
        ("compiler/graph/graph.py", "from planform.compiler import dims"),
        ("dsl/parser.py", "from ..backends import torch"),
        ("dsl/lsp/server.py", "from ...backends.torch import lower"),
        ("grammar/__init__.py", "from ..compiler import dims"),
        ("backends/torch/lower.py", "from ...dsl import source"),
        ("backends/torch/lower.py", "import tvm"),
        ("backends/tvm/lowering/lower.py", "import torch"),
        ("cli/app.py", "import torch"),
        ("cli/app.py", "import sympy"),
    ],
)
def test_wrong_imports_are_found(path: str, text: str) -> None:
    assert len(violations(path, text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("compiler/ops/linear.py", "from __future__ import annotations\nfrom ..graph import Graph"),
        ("compiler/sizes/polynomials.py", "import sympy"),
        ("compiler/sizes/dims.py", "algebra = import_module('.algebra', __package__)"),
        ("dsl/parser.py", "import lark\nfrom ..grammar import GRAMMAR\nfrom ..compiler import dims"),
        ("backends/torch/lower.py", "import torch.fx\nfrom ...compiler import graph\nfrom . import lower"),
        ("api/model.py", "from ..backends.torch import lower\nfrom .. import __version__"),
    ],
)
def test_right_imports_are_left_alone(path: str, text: str) -> None:
    assert violations(path, text) == []


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after some code."""
    report = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_the_face_is_lazy() -> None:
    heavy = {"torch", "tvm", "sympy", "lark", "networkx", "numpy", "rich"}
    assert not loaded_after("import planform") & heavy


def test_text_to_graph_loads_neither_a_backend_nor_sympy() -> None:
    front = [p for p in sources() if p.partition("/")[0] in {"grammar", "dsl", "compiler"}]
    front = [p for p in front if p not in AT_THE_FIRST_SYMBOL]
    modules = [p.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for p in front]
    code = f"from importlib import import_module; [import_module('planform.' + m) for m in {modules!r}]"
    loaded = loaded_after(code)
    assert "planform" in loaded
    assert not loaded & {"torch", "tvm", "sympy", "numpy"}


def test_checking_known_sizes_loads_neither_a_backend_nor_sympy() -> None:
    text = (
        "planform 1\nmodel net(x: [B, 3, H, W]) {\n"
        "    return x -> c: conv(8, 3, stride=2) -> bn: batch_norm() -> mean(axis=[2, 3])\n}\n"
        "plan p = net() at (B=2, H=32, W=32)\nclaim p: params == 232\n"
    )
    code = f"from planform.api.model import PlanFile; assert PlanFile.from_text({text!r}).check().ok"
    assert not loaded_after(code) & {"torch", "tvm", "sympy", "numpy"}
