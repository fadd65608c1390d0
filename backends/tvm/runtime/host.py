"""The processor that this runs on, as the system tells it: architecture and instruction sets."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

# Instruction sets that kernels may use, as LLVM names them and as Linux does. Others of LLVM's features tune
# for speed, or are not for what kernels do.
_X86 = {
    "sse3": "pni",
    "ssse3": "ssse3",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "sse4a": "sse4a",
    "popcnt": "popcnt",
    "lzcnt": "abm",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "movbe": "movbe",
    "aes": "aes",
    "pclmul": "pclmulqdq",
    "sha": "sha_ni",
    "gfni": "gfni",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
    "avx": "avx",
    "avx2": "avx2",
    "f16c": "f16c",
    "fma": "fma",
    "fma4": "fma4",
    "xop": "xop",
    "tbm": "tbm",
    "avxvnni": "avx_vnni",
    "avxifma": "avx_ifma",
    "avxvnniint8": "avx_vnni_int8",
    "avxvnniint16": "avx_vnni_int16",
    "avxneconvert": "avx_ne_convert",
    "avx512f": "avx512f",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512bw": "avx512bw",
    "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "amx-tile": "amx_tile",
    "amx-int8": "amx_int8",
    "amx-bf16": "amx_bf16",
    "amx-fp16": "amx_fp16",
}
_ARM = {
    "neon": "asimd",
    "fp-armv8": "fp",
    "fullfp16": "asimdhp",
    "dotprod": "asimddp",
    "fp16fml": "asimdfhm",
    "rdm": "asimdrdm",
    "complxnum": "fcma",
    "jsconv": "jscvt",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "lse": "atomics",
    "crc": "crc32",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}
_NAMES = {"x86_64": _X86, "aarch64": _ARM}
_SPELLINGS = {"amd64": "x86_64", "arm64": "aarch64"}


def architecture(name: str | None = None) -> str:
    """The name of an architecture as `x86_64` and `aarch64` are spelled; that of this machine by default."""
    found = (name or platform.machine()).lower()
    return _SPELLINGS.get(found, found)


def checked(architecture: str) -> frozenset[str]:
    """The instruction sets of an architecture that are looked for before code is run, in LLVM's words."""
    return frozenset(_NAMES.get(architecture, ()))


@cache
def features() -> frozenset[str] | None:
    """Those of `checked` that programs may use here; None if the system does not tell."""
    told = _told("flags") or _told("Features")
    if not told:
        return None
    words = frozenset(told.split())
    return frozenset(ours for ours, theirs in _NAMES.get(architecture(), {}).items() if theirs in words)


@cache
def description() -> str:
    """All that code made for this machine depends on, as text for comparing."""
    known = sorted(features() or ())
    name = _told("model name") or _told("CPU part")
    caches = [str(cache_size(level, 0)) for level in (1, 2)]
    return " ".join([platform.system(), architecture(), name, *caches, *known])


def cache_size(level: int, default: int) -> int:
    """The bytes of a data cache of the first core."""
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            found, kind, size = (
                (index / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if found == str(level) and kind != "Instruction" and size:
            return int(size.rstrip("KM")) << {"K": 10, "M": 20}.get(size[-1], 0)
    return default


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _told(field: str) -> str:
    """What the system says of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
