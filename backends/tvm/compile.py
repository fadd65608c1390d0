"""From a deployed graph to an artifact without weights: built, or taken from the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ...compiler.dtypes import DType
from ...compiler.graph.graph import Graph, Node
from ...compiler.graph.text import print_graph
from ...compiler.sizes.dims import at_least
from .codegen import cache
from .errors import ArtifactError, BuildError, TargetError
from .runtime import host
from .runtime.artifact import Artifact, read
from .runtime.libraries import tvm_package
from .runtime.program import Program, Step
from .target import Target, is_gpu, parse

if TYPE_CHECKING:
    from ...compiler.fusion import Partition
    from .cpu.machine import Machine
    from .cuda.device import GpuMachine

Tell = Callable[[str], None]

# The least value of a symbol is looked for up to here.
_MOST = 64


@dataclass(frozen=True)
class Build:
    """An artifact without weights; `module` is TVM's, where there is no C compiler to link a library."""

    artifact: Artifact
    module: Any = None


def compile_graph(
    graph: Graph,
    target: Target = None,
    dtype: DType = "f32",
    *,
    cached: bool = True,
    link: bool = True,
    tell: Tell | None = None,
) -> Build:
    """The graph, deployed, as kernels for a target; `dtype` is what `float` stands for.

    The same build is taken from the cache if `cached`. Without `link` a missing C compiler is no error.
    `tell` is called with the stage that begins. Raises `TargetError` and `BuildError`.
    """
    key = _key(graph, target, dtype)
    if cached:
        kept = _kept(key)
        if kept is not None:
            return Build(kept)
    tell = tell or _silent
    tell("loading TVM")
    tvm_package()
    from .codegen.build import build
    from .cpu.machine import architecture_of, features_of, machine_of

    described = parse(target)
    if is_gpu(described):
        artifact = _for_gpu(graph, described, dtype, tell)
        if cached:
            cache.keep(key, artifact.to_bytes())
        return Build(artifact)
    machine = machine_of(target)
    architecture = architecture_of(machine.target)
    library, module = b"", None
    try:
        lowered, library = _library(graph, machine, architecture, dtype, cached, tell)
    except BuildError as error:
        if link or error.code != "E704":
            raise
        lowered = lowered_for(graph, machine, dtype)
        module = build(lowered, machine)
    features = sorted(features_of(machine.target) & host.checked(architecture))
    manifest = _manifest(lowered, machine.target, architecture, features, dtype)
    artifact = Artifact(manifest, _with_minima(lowered.program, graph), library, {})
    if cached and library:
        cache.keep(key, artifact.to_bytes())
    return Build(artifact, module)


def partition_for(graph: Graph, target: Target = None, dtype: DType = "f32") -> tuple[Partition, Program]:
    """What `compile_graph` would run, in groups of operators and as the steps of a program: quick.

    Raises `TargetError` and `BuildError`.
    """
    tvm_package()
    from .lowering.kernels import KernelMaker, Unsupported
    from .lowering.preview import preview

    described = parse(target)
    try:
        if is_gpu(described):
            from .cuda.device import gpu_of
            from .cuda.maker import maker

            return preview(graph, maker(gpu_of(described), dtype))
        from .cpu.machine import machine_of

        return preview(graph, KernelMaker(machine_of(target), dtype))
    except Unsupported as error:
        raise _no_kernel(error.node) from None


def _for_gpu(graph: Graph, described: Mapping[str, Any], dtype: DType, tell: Tell) -> Artifact:
    """The graph as launches, with their machine code."""
    from .cuda.build import build
    from .cuda.device import gpu_of

    gpu = gpu_of(described)
    tell("choosing kernels")
    lowered = lowered_for(graph, gpu, dtype)
    tell(f"compiling {len(lowered.functions)} kernels")
    manifest = _manifest(lowered, gpu.target, gpu.arch, [], dtype)
    return Artifact(manifest, _with_minima(lowered.program, graph), build(lowered, gpu), {})


def _manifest(
    lowered: Any, target: Any, architecture: str, features: list[str], dtype: DType
) -> dict[str, Any]:
    return {
        "versions": {"tvm": version("apache-tvm")},
        "target": json.loads(str(target)),
        "architecture": architecture,
        "features": features,
        "dtype": dtype,
        "packings": {
            key: [path, None if packing is None else asdict(packing)]
            for key, (path, packing) in lowered.packings.items()
        },
    }


def _library(
    graph: Graph, machine: Machine, architecture: str, dtype: DType, kept: bool, tell: Tell
) -> tuple[Any, bytes]:
    """The graph as kernels (`Lowered`), and the shared library with their code."""
    from .codegen.codegen import entry_code
    from .codegen.entry_points import drivers
    from .codegen.link import compiler, linked
    from .codegen.objects import objects

    compiler(architecture)
    with objects(machine, kept) as made:
        tell("choosing kernels")
        lowered = lowered_for(graph, machine, dtype, made)
        entries = entry_code(drivers(lowered.program), machine.target)
        count = len(lowered.functions)
        about = f"compiling {count} kernel{'s' * (count != 1)}"
        code = made.code(lambda share: tell(f"{about}: {share:.0%}"))
    if kept:
        cache.prune_kernels()
    tell("linking")
    return lowered, linked([entries, *code], architecture)


def lowered_for(
    graph: Graph, machine: Machine | GpuMachine, dtype: DType = "f32", functions: dict[str, Any] | None = None
) -> Any:
    """The graph as kernels (`Lowered`), which are entered in `functions` by name as they are written.

    Raises `BuildError` for an operator that has none.
    """
    from .cuda.device import GpuMachine
    from .lowering.kernels import Unsupported
    from .lowering.lower import lower

    try:
        if isinstance(machine, GpuMachine):
            from .cuda.lower import lower as lower_for_gpu

            return lower_for_gpu(graph, machine, dtype)
        return lower(graph, machine, dtype, functions)
    except Unsupported as error:
        raise _no_kernel(error.node) from None


def _no_kernel(node: Node) -> BuildError:
    path = f" `{node.path}`" if node.path else ""
    place = f", at {node.origins[0].place}" if node.origins else ""
    return BuildError("E710", f"the operator `{node.op.title}`{path} has no kernel{place}")


def kernels(
    graph: Graph, form: str, target: Target = None, dtype: DType = "f32", tell: Tell | None = None
) -> Iterator[tuple[Step, str]]:
    """What each kernel became, with the step that runs it; "" if it was before.

    It is `tir`, or for a processor `llvm` or `asm`, or for a GPU `cuda`, whose target may then be left out.

    Raises `TargetError` and `BuildError`.
    """
    tell = tell or _silent
    tell("loading TVM")
    tvm_package()
    from .codegen.build import text_of
    from .cpu.machine import machine_of
    from .cuda.build import text_of as text_for_gpu
    from .cuda.device import gpu_of

    described = parse("cuda" if form == "cuda" and target is None else target)
    gpu = gpu_of(described) if is_gpu(described) else None
    machine: Any = gpu or machine_of(target)
    if form not in ("tir", "cuda" if gpu else form) or (form == "cuda" and not gpu):
        kind = "a GPU" if gpu else "a processor"
        raise TargetError("E701", f"there is no {form} of kernels for {kind}")
    lowered = lowered_for(graph, machine, dtype)
    seen: set[str] = set()
    for step in (*lowered.program.constants, *lowered.program.steps):
        tell(step.about)
        known = step.external or step.function in seen
        if known:
            yield step, ""
        else:
            yield (
                step,
                text_for_gpu(lowered, step, form, gpu) if gpu else text_of(lowered, step, form, machine),
            )
        seen.add(step.function)


def _silent(stage: str) -> None:
    del stage


def _key(graph: Graph, target: Target, dtype: DType) -> str:
    """A name for all that a build depends on."""
    places = [[str(origin.place) for origin in node.origins[:1]] for node in graph.nodes]
    weights = {path: str(weight.type) for path, weight in graph.weights.items()}
    described = parse(target) or [host.description(), host.cores()]
    about = [cache.sources(), version("apache-tvm"), described, dtype, weights, places, print_graph(graph)]
    return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()


def _kept(key: str) -> Artifact | None:
    path = cache.found(key)
    if path is None:
        return None
    try:
        return read(path, here=False)
    except (ArtifactError, OSError):
        cache.drop(key)
        return None


def _with_minima(program: Program, graph: Graph) -> Program:
    """The program, with the least value that each symbol may take."""
    found = []
    for reading in program.readings:
        size = graph.inputs[reading.input].shape[reading.axis]
        least = 0
        while least < _MOST and at_least(size, reading.factor * (least + 1) + reading.offset):
            least += 1
        found.append(replace(reading, least=least))
    return replace(program, readings=tuple(found))
