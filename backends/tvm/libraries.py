"""TVM's runtime and compiled libraries, loaded without `import tvm` and without torch."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import BuildError

INSTALL = 'pip install "planform[tvm]"'


def missing() -> BuildError:
    """TVM's packages are not there."""
    return BuildError("E709", "TVM is not installed", INSTALL)


@cache
def ffi() -> ModuleType:
    """The module `tvm_ffi`, with TVM's runtime library loaded. Raises `BuildError` if they are not there."""
    if find_spec("tvm_ffi") is None or find_spec("tvm") is None:
        raise missing()
    with _without_torch():
        found = import_module("tvm_ffi")
    ctypes.CDLL(str(_runtime_library()), ctypes.RTLD_GLOBAL)
    return found


def threads() -> int:
    """How many threads a kernel runs on, as TVM's runtime has it."""
    return int(ffi().get_global_func("runtime.NumThreads")())


def load_library(path: Path) -> Any:
    """A compiled library, whose functions are its items; raises OSError or RuntimeError."""
    return ffi().load_module(str(path))


def _runtime_library() -> Path:
    """TVM's runtime, beside the package `tvm`, which is not imported."""
    spec = find_spec("tvm")
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        for path in sorted(Path(folder).glob("lib/*tvm_runtime.*")):
            if path.suffix in (".so", ".dylib", ".dll"):
                return path
    raise missing()


class _Refusing:
    """Tells one thread that torch is not installed."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        """What Python's import asks before it looks for a module itself."""
        if name == "torch" and threading.get_ident() == self.thread:
            raise ModuleNotFoundError("torch is not needed here", name=name)


@contextmanager
def _without_torch() -> Iterator[None]:
    """Inside, an import of torch that is not loaded yet fails: tvm_ffi tries it, and it takes seconds."""
    finder = _Refusing()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
