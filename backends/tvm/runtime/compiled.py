"""A compiled plan to be called, with torch tensors or numpy arrays."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....compiler.files import write
from ..errors import ArtifactError, InputError
from ..target import is_gpu
from . import host, libraries
from .arena import aligned_copy
from .artifact import Artifact, check_processor, read
from .cuda_runner import GpuRunner
from .inputs import text
from .packing import Packing
from .program import Program
from .runner import Runner, filled

if TYPE_CHECKING:
    from ..compile import Build

_ALIGNMENT = 64


class CompiledPlan:
    """A plan as machine code. It may be called from several threads at once.

    It takes one array for each input, in order, and gives the results in the structure that the plan gives
    them: numpy arrays, or torch tensors if it was given some. bfloat16 stands for itself in torch and in
    arrays of ml_dtypes, and else as its bits, uint16, in numpy. What does not fit raises `InputError`.
    """

    def __init__(self, artifact: Artifact, module: Any = None) -> None:
        self.artifact = artifact
        self.program = artifact.program
        self.runner: Runner | GpuRunner
        if is_gpu(artifact.manifest.get("target")):
            self.runner = GpuRunner(artifact.program, artifact.library, artifact.weights)
        else:
            self.runner = Runner(artifact.program, module or _loaded(artifact.library), artifact.weights)

    @property
    def name(self) -> str:
        """The plan's."""
        return self.program.name

    def __call__(self, *inputs: Any) -> Any:
        """The results; raises `InputError`."""
        torch = sys.modules.get("torch")
        if torch is not None and any(isinstance(each, torch.Tensor) for each in inputs):
            found = self.runner(*[self._array(torch, number, each) for number, each in enumerate(inputs)])
            return self._with_leaves(found, torch.from_numpy, torch.bfloat16)
        kind = next((each.dtype for each in inputs if _is_bfloat16(each)), None)
        if kind is None:
            return self.runner(*inputs)
        found = self.runner(*[self._bits(number, each) for number, each in enumerate(inputs)])
        return self._with_leaves(found, lambda array: array, kind)

    def _bits(self, number: int, given: Any) -> Any:
        """An array of bfloat16, which is not numpy's own, as the bits, if the plan takes it."""
        ports = self.program.inputs
        wanted = number < len(ports) and ports[number].dtype == "bfloat16"
        return given.view(np.uint16) if wanted and _is_bfloat16(given) else given

    def _array(self, torch: Any, number: int, given: Any) -> Any:
        """A tensor's elements as an array, where they lie; what else is given is for the runner to judge."""
        if not isinstance(given, torch.Tensor):
            return self._bits(number, given)
        ports = self.program.inputs
        name = ports[number].name if number < len(ports) else f"input {number}"
        if given.requires_grad:
            help = "a compiled plan has no gradients; pass `.detach()`"
            raise InputError(f"{self.name}: {name} requires grad: {help}")
        if given.device.type != "cpu":
            raise InputError(f"{self.name}: {name} is on {given.device}, and must be on cpu")
        if given.layout != torch.strided:
            kind = str(given.layout).removeprefix("torch.")
            raise InputError(f"{self.name}: {name} is {kind}, and must be strided")
        if given.dtype in (torch.bfloat16, torch.uint16):
            kind = str(given.dtype).removeprefix("torch.")
            if number < len(ports) and ports[number].dtype != kind:
                raise InputError(f"{self.name}: {name} holds {kind}, and must hold {ports[number].dtype}")
            given = given.contiguous().view(torch.uint16)
        try:
            return given.resolve_conj().resolve_neg().numpy()
        except TypeError:
            kind = str(given.dtype).removeprefix("torch.")
            raise InputError(f"{self.name}: {name} holds {kind}, which numpy does not have") from None

    def _with_leaves(self, found: Any, convert: Callable[[np.ndarray], Any], bfloat16: Any) -> Any:
        """The results converted; bits are told from numbers by the program."""
        leaves: list[Any] = []

        def collect(tree: Any) -> None:
            if isinstance(tree, np.ndarray):
                leaf = convert(tree)
                slot, _ = self.program.outputs[len(leaves)]
                bits = self.program.slots[slot].dtype == "bfloat16"
                leaves.append(leaf.view(bfloat16) if bits else leaf)
            elif isinstance(tree, dict):
                for item in tree.values():
                    collect(item)
            elif isinstance(tree, (list, tuple)):
                for item in tree:
                    collect(item)

        collect(found)
        return filled(self.program.tree, leaves)

    @property
    def signature(self) -> dict[str, str]:
        """The inputs by name, as `float32[B, 3, 224, 224]`."""
        return {port.name: f"{port.dtype}{text(port.shape)}" for port in self.program.inputs}

    def save(self, path: str | Path) -> None:
        """Write the artifact: one file, which appears whole or not at all.

        Raises OSError, and `BuildError` if it could not be linked.
        """
        if not self.artifact.library:
            from ..codegen.link import compiler

            compiler(self.artifact.manifest["architecture"])
        write(Path(path), _baked(self.artifact, self.runner.held).to_bytes())

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {type}" for name, type in self.signature.items())
        return f"<CompiledPlan {self.name}({inputs})>"


def _is_bfloat16(given: Any) -> bool:
    return isinstance(given, np.ndarray) and given.dtype.name == "bfloat16"


def with_weights(
    build: Build, weights: Mapping[str, np.ndarray], about: Mapping[str, Any] | None = None
) -> CompiledPlan:
    """A build with the deployed weights, by path; `about` is added to the manifest.

    Raises `ArtifactError` if the build is for another processor than this.
    """
    artifact = artifact_of(build, weights, about)
    check_processor(artifact.program.name, artifact.manifest)
    return CompiledPlan(artifact, build.module)


def artifact_of(
    build: Build, weights: Mapping[str, np.ndarray], about: Mapping[str, Any] | None = None
) -> Artifact:
    """The artifact of a build and the deployed weights, for whatever processor it is."""
    from concurrent.futures import ThreadPoolExecutor

    manifest = {**build.artifact.manifest, **(about or {})}
    packings = manifest.pop("packings")

    def packed(key: str) -> np.ndarray:
        path, fields = packings[key]
        return aligned_copy(weights[path] if fields is None else _packing(fields)(weights[path]))

    with ThreadPoolExecutor(host.cores(), "planform-pack") as pool:
        held = dict(zip(packings, pool.map(packed, packings), strict=True))
    manifest["versions"] = {**build.artifact.manifest["versions"], **(about or {}).get("versions", {})}
    return replace(build.artifact, weights=held, manifest=manifest)


def _packing(fields: Mapping[str, Any]) -> Packing:
    """A packing, also of lists for tuples as JSON gives them."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, (list, tuple)) else value

    return Packing(**{name: tuples(value) for name, value in fields.items()})


def load_compiled(path: str | Path) -> CompiledPlan:
    """The compiled plan in a file that `save` wrote. An artifact is code: load only what you trust.

    Raises OSError and `ArtifactError`, before anything of the file is run, for a file that is no artifact, is
    damaged, has a newer format or is for another processor; and `BuildError` without TVM's runtime.
    """
    artifact = read(Path(path))
    weights = {
        name: array if array.ctypes.data % _ALIGNMENT == 0 else aligned_copy(array)
        for name, array in artifact.weights.items()
    }
    try:
        return CompiledPlan(replace(artifact, weights=weights))
    except MemoryError:
        raise ArtifactError("E706", f"{path} cannot be loaded: the memory does not suffice") from None
    except (OSError, RuntimeError, AttributeError, ValueError) as error:
        why = str(error).strip().splitlines()[-1]
        raise ArtifactError("E706", f"{path} cannot be loaded: {why}") from None


def ready(artifact: Artifact) -> Artifact:
    """The artifact with what is computed once computed now, if this processor can."""
    try:
        check_processor(artifact.program.name, artifact.manifest)
    except ArtifactError:
        return artifact
    return _baked(artifact, CompiledPlan(artifact).runner.held) if artifact.program.constants else artifact


def _baked(artifact: Artifact, held: Mapping[int, np.ndarray]) -> Artifact:
    """The artifact with its constants, as they are held, for weights, and without weights that none reads."""
    program = artifact.program
    if not program.constants:
        return artifact
    read = {slot for step in program.steps for slot in step.operands}
    read |= {slot for slot, _ in program.outputs}
    checks = tuple(check for check in program.checks if not check.once)
    read |= {check.slot for check in checks}
    slots, weights = list(program.slots), dict[str, np.ndarray]()
    for number, slot in enumerate(program.slots):
        if slot.kind not in ("weight", "constant"):
            continue
        if number not in read:
            slots[number] = replace(slot, kind="unused")
            continue
        key = str(slot.key) if slot.kind == "weight" else f"constant.{number}"
        slots[number] = replace(slot, kind="weight", key=key)
        weights[key] = held[number]
    made: Program = replace(program, slots=tuple(slots), constants=(), checks=checks)
    return replace(artifact, program=made, weights=weights)


def _loaded(library: bytes) -> Any:
    """The library of an artifact, from a file that is removed again."""
    libraries.ffi()
    handle, name = tempfile.mkstemp(prefix="planform-", suffix=".so")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(library)
        return libraries.load_library(Path(name))
    finally:
        with suppress(OSError):
            os.unlink(name)
