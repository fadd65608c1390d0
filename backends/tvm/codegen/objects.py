"""Kernels as object code: made by all cores while others are written, and kept for other networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ..cpu.machine import Machine
from ..runtime import host
from . import cache
from .codegen import kernel_code


class KernelObjects(dict[str, Any]):
    """Functions of kernels by name; code is made of each as soon as it is entered.

    A name tells all that a kernel depends on but the machine and this program. TVM lets other threads run
    while it makes code. `compiled` counts the kernels that were not kept from before.
    """

    def __init__(self, machine: Machine, pool: ThreadPoolExecutor, kept: bool) -> None:
        super().__init__()
        self.compiled = 0
        self._target = machine.target
        self._pool = pool
        self._kept = kept
        described = {**asdict(machine), "target": json.loads(str(machine.target))}
        about = [cache.sources(), version("apache-tvm"), described]
        self._machine = json.dumps(about, sort_keys=True)
        self._code: dict[str, Future[bytes]] = {}

    def __setitem__(self, name: str, function: Any) -> None:
        super().__setitem__(name, function)
        self._code[name] = self._pool.submit(self._make, name, function)

    def _make(self, name: str, function: Any) -> bytes:
        key = hashlib.sha256(f"{name} {self._machine}".encode()).hexdigest()
        found = cache.kernel(key) if self._kept else None
        if found is None:
            self.compiled += 1
            found = kernel_code(name, function, self._target)
            if self._kept:
                cache.keep_kernel(key, found)
        return found

    def code(self, tell: Callable[[float], None]) -> list[bytes]:
        """The object files, by name; `tell` is called with the share of kernels that are ready."""
        for ready, _ in enumerate(as_completed(self._code.values())):
            tell((ready + 1) / len(self._code))
        return [self._code[name].result() for name in sorted(self._code)]


@contextmanager
def objects(machine: Machine, kept: bool) -> Iterator[KernelObjects]:
    """Threads to make the kernels for a machine; what is left when the context ends is not made."""
    pool = ThreadPoolExecutor(host.cores(), "planform-compile")
    try:
        yield KernelObjects(machine, pool, kept)
    finally:
        pool.shutdown(cancel_futures=True)
