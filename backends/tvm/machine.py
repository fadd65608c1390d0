"""The processor that kernels are made for: cores, vectors, caches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tvm

_BITS = {"float64": 64, "int64": 64, "float32": 32, "int32": 32, "float16": 16, "bfloat16": 16, "int16": 16}


@dataclass(frozen=True)
class Machine:
    """`vector` is the width of a register in bytes, of which there are `registers`; caches are in bytes,
    `l1` and `l2` those of one core. `target` is TVM's description.
    """

    target: Any
    cpu: str
    threads: int
    vector: int
    registers: int
    l1: int
    l2: int

    def lanes(self, dtype: str) -> int:
        """Elements of a type in one register."""
        return self.vector * 8 // _BITS.get(dtype, 8)


@cache
def host(threads: int | None = None) -> Machine:
    """The machine that this runs on."""
    cpu = str(tvm.get_global_func("target.llvm_get_system_cpu")())
    threads = threads or len(os.sched_getaffinity(0))
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "num-cores": threads})
    vector = int(tvm.get_global_func("target.llvm_get_vector_width")(target)) // 8
    return Machine(
        target, cpu, threads, vector, 32 if vector == 64 else 16, _cache(1, 32 << 10), _cache(2, 1 << 20)
    )


def _cache(level: int, default: int) -> int:
    """The bytes of a data cache of the first core."""
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, size = (index / "type"), (index / "size")
        if (index / "level").read_text().strip() == str(level) and kind.read_text().strip() != "Instruction":
            text = size.read_text().strip()
            return int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0)
    return default
