"""TVM's runtime and compiled libraries, loaded without `import tvm` and without torch."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from ....compiler.once import once
from ..errors import BuildError

_DEVICES = "TVM_DEVICE_BACKEND_AUTOLOAD"
INSTALL = 'pip install "planform[tvm]"'


def missing() -> BuildError:
    """TVM's packages are not there, or others of their names stand before them."""
    for name in ("tvm_ffi", "tvm"):
        shadow = _shadow(name)
        if shadow is not None:
            message = f"`import {name}` finds {shadow}, which is not TVM"
            return BuildError("E709", message, "rename it, or run elsewhere: Python looks there first")
    return BuildError("E709", "TVM is not installed", INSTALL)


def _shadow(name: str) -> str | None:
    """The file or folder that has the name of one of TVM's packages, and is another's."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module without a spec, as of a notebook
        spec = None
    found = spec.origin if spec is not None else getattr(sys.modules.get(name), "__file__", None)
    folders = list((spec.submodule_search_locations if spec else None) or [])
    if spec is not None and found is None and folders:
        return folders[0]  # a folder without __init__.py
    if spec is None and found is not None:
        folders = [str(Path(found).parent)]
    if found is None or (folders and (Path(folders[0]) / _MARKS[name]).exists()):
        return None
    return found


# What TVM's packages have, and nobody's own `tvm.py`.
_MARKS = {"tvm_ffi": "registry.py", "tvm": "ir"}


@once
def ffi() -> ModuleType:
    """The module `tvm_ffi`, with TVM's runtime library loaded. Raises `BuildError` if they are not there."""
    if any(find_spec(name) is None or _shadow(name) is not None for name in _MARKS):
        raise missing()
    with _without_torch():
        found = import_module("tvm_ffi")
    ctypes.CDLL(str(_runtime_library()), ctypes.RTLD_GLOBAL)
    return found


@once
def tvm_package() -> ModuleType:
    """The package `tvm`, whose parts that make no kernels are imported once something of them is asked for.

    What it has for other devices is left out: registering that takes longer than all else. Who makes kernels
    for one asks TVM's loader for it; a program that uses it for itself imports TVM first.

    Raises `BuildError` if it is not there.
    """
    ffi()
    if "tvm" in sys.modules:
        return sys.modules["tvm"]
    # It has classes that TVM registers in any case: of one that is missing it would trace the way through all
    # of its symbols.
    extra = [path for path in _runtime_library().parent.glob("*tvm_runtime_extra.*") if path.suffix != ".lib"]
    for path in extra:
        ctypes.CDLL(str(path))
    later, collecting = _Later(), gc.isenabled()
    devices = os.environ.get(_DEVICES)
    os.environ.setdefault(_DEVICES, "0")
    sys.meta_path.insert(0, later)
    # Nothing of it is garbage, and looking for some among all that is imported takes long.
    gc.disable()
    try:
        found = import_module("tvm")
        # What it would tell of itself.
        found.script.register_dialect("relax", "tvm.relax.script")
        return found
    finally:
        sys.meta_path.remove(later)
        if devices is None:
            del os.environ[_DEVICES]
        if collecting:
            gc.enable()


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


class _Later:
    """Puts off importing TVM's compiler of graphs, which imports half of all modules."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """What Python's import asks before it looks for a module itself."""
        found = PathFinder.find_spec(name, path, target) if name == "tvm.relax" else None
        if found is not None and found.loader is not None:
            found.loader = LazyLoader(found.loader)
        return found


@contextmanager
def _without_torch() -> Iterator[None]:
    """Inside, an import of torch that is not loaded yet fails: tvm_ffi tries it, and it takes seconds."""
    finder = _Refusing()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
