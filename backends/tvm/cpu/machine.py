"""The processor that kernels are made for: cores, vectors, caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import tvm

from ....compiler.devices import Cpu
from ....compiler.devices.table import cpu_like
from ..errors import TargetError
from ..runtime import host as here
from ..target import Target, parse

_L1, _L2 = 32 << 10, 1 << 20


@dataclass(frozen=True)
class Machine(Cpu):
    """A processor by LLVM's name, with TVM's description of it."""

    target: Any


@cache
def host(threads: int | None = None) -> Machine:
    """The machine that this runs on; `threads` is how many a kernel is made for, all cores by default."""
    cpu = str(_call("llvm_get_system_cpu"))
    described: dict[str, Any] = {"kind": "llvm", "mcpu": cpu, "num-cores": threads or here.cores()}
    has = here.features()
    if has is not None:
        # What the system hides, as under a hypervisor, must not be used.
        wanted = features_of(tvm.target.Target(described)) & here.checked(here.architecture())
        if wanted - has:
            described["mattr"] = sorted(f"-{name}" for name in wanted - has)
    return of(described, here.cache_size(1, _L1), here.cache_size(2, _L2))


def of(described: Mapping[str, Any], l1: int = _L1, l2: int = _L2) -> Machine:
    """The machine of a description of TVM's target (of kind llvm)."""
    target = tvm.target.Target(dict(described))
    vector = int(_call("llvm_get_vector_width", target)) // 8
    features = features_of(target)
    if architecture_of(target) == "x86_64":
        # LLVM says 64 bytes of any x86 that it is not told more of.
        vector = 64 if "avx512f" in features else 32 if "avx" in features else 16
    registers = 32 if vector == 64 or architecture_of(target) == "aarch64" else 16
    attributes: Any = target.attrs
    threads = int(attributes.get("num-cores", here.cores()))
    name = str(attributes.get("mcpu", ""))
    like = cpu_like(name)
    return Machine(
        name,
        like.bandwidth,
        threads,
        like.clock,
        like.ports,
        vector,
        registers,
        l1,
        l2,
        like.l3,
        target,
    )


def architecture_of(target: Any) -> str:
    """`x86_64`, `aarch64`, ..."""
    triple = str(target.attrs.get("mtriple", "")) or str(_call("llvm_get_system_triple"))
    return here.architecture(triple.partition("-")[0])


def features_of(target: Any) -> frozenset[str]:
    """What LLVM takes for granted of a target, in its words."""
    return frozenset(str(name) for name in _call("llvm_get_cpu_features", target))


def machine_of(target: Target = None) -> Machine:
    """The machine that a target describes: None or "cpu" is the one that this runs on.

    A mapping, or the same as JSON text, is what TVM takes: `{"kind": "llvm", "mcpu": "znver4"}`. Raises
    `TargetError` where it is not understood, or where LLVM would silently build for something else.
    """
    described = parse(target)
    if described is None:
        return host()
    kind = described.get("kind")
    kinds = [str(each) for each in _call("ListTargetKinds")]
    if kind != "llvm":
        if kind in kinds:
            kept = "only for `llvm` and `cuda`"
            raise TargetError("E701", f"there are no kernels for targets of kind `{kind}`, {kept}")
        raise TargetError("E701", f"`{kind}` is no kind of target", *_near(str(kind), kinds))
    _check_cpu(described)
    try:
        built = tvm.target.Target(described)
    except (ValueError, TypeError) as error:
        raise TargetError("E701", f"the target is not understood: {_first_sentence(error)}") from None
    _check_features(described, features_of(built))
    return of(described)


def _check_cpu(described: Mapping[str, Any]) -> None:
    """Raise unless LLVM knows the triple and the CPU; it would build for any CPU of the kind otherwise."""
    triple = described.get("mtriple", str(_call("llvm_get_system_triple")))
    known = [str(each) for each in _call("llvm_get_targets")]
    architecture = here.architecture(str(triple).partition("-")[0])
    if not isinstance(triple, str) or architecture not in known:
        raise TargetError("E701", f"LLVM knows no architecture `{architecture}`", *_near(architecture, known))
    name = described.get("mcpu")
    if name is None:
        return
    if not isinstance(name, str) or not _call("llvm_is_valid_cpu", name, triple):
        generic = tvm.target.Target({"kind": "llvm", "mtriple": triple})
        names = [str(each) for each in _call("llvm_get_cpu_archlist", generic)]
        raise TargetError("E702", f"LLVM knows no CPU `{name}` of {architecture}", *_near(str(name), names))


def _check_features(described: Mapping[str, Any], found: frozenset[str]) -> None:
    """Raise where features do not exist, or where what was asked for is not what LLVM makes of it."""
    asked = [str(each) for each in described.get("mattr", ())]
    known = _known_features(str(described.get("mtriple", _call("llvm_get_system_triple"))))
    for text in asked:
        sign, name = text[:1], text[1:]
        if sign not in ("+", "-"):
            raise TargetError("E703", f"the feature `{text}` begins with neither + nor -")
        if name not in known:
            raise TargetError("E703", f"LLVM knows no feature `{name}`", *_near(name, sorted(known)))
    for text in asked:
        sign, name = text[:1], text[1:]
        if (name in found) != (sign == "+"):
            others = ", ".join(each for each in asked if each != text)
            raise TargetError("E703", f"`{text}` contradicts the other features: {others}")


@cache
def _known_features(triple: str) -> frozenset[str]:
    """The features that any CPU of an architecture has."""
    generic = tvm.target.Target({"kind": "llvm", "mtriple": triple})
    names = [str(each) for each in _call("llvm_get_cpu_archlist", generic)]
    described = [{"kind": "llvm", "mtriple": triple, "mcpu": name} for name in names]
    return frozenset(each for one in described for each in features_of(tvm.target.Target(one)))


def _call(name: str, *arguments: Any) -> Any:
    return tvm.get_global_func(f"target.{name}")(*arguments)


def _near(name: str, known: list[str]) -> list[str]:
    return [f"did you mean `{found}`?" for found in get_close_matches(name, known, 1)]


def _first_sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].partition(". Target creation")[0]
