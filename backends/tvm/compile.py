"""From a deployed graph to an artifact without weights: built, or taken from the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ...compiler.dims import at_least
from ...compiler.dtypes import DType
from ...compiler.graph import Graph
from ...compiler.printer import print_graph
from . import cache, cpu
from .artifact import Artifact, read
from .errors import ArtifactError, BuildError
from .libraries import ffi
from .program import Program, Step
from .target import Target, parse

if TYPE_CHECKING:
    from .machine import Machine

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
    ffi()
    from .build import build
    from .machine import architecture_of, features_of, machine_of

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
    manifest = {
        "versions": {"tvm": version("apache-tvm")},
        "target": json.loads(str(machine.target)),
        "architecture": architecture,
        "features": sorted(features_of(machine.target) & cpu.checked(architecture)),
        "dtype": dtype,
        "packings": {
            key: [path, None if packing is None else asdict(packing)]
            for key, (path, packing) in lowered.packings.items()
        },
    }
    artifact = Artifact(manifest, _with_minima(lowered.program, graph), library, {})
    if cached and library:
        cache.keep(key, artifact.to_bytes())
    return Build(artifact, module)


def _library(
    graph: Graph, machine: Machine, architecture: str, dtype: DType, kept: bool, tell: Tell
) -> tuple[Any, bytes]:
    """The graph as kernels (`Lowered`), and the shared library with their code."""
    from .codegen import entry_code
    from .driver import drivers
    from .link import compiler, linked
    from .objects import objects

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
    graph: Graph, machine: Machine, dtype: DType = "f32", functions: dict[str, Any] | None = None
) -> Any:
    """The graph as kernels (`Lowered`), which are entered in `functions` by name as they are written.

    Raises `BuildError` for an operator that has none.
    """
    from .kernels import Unsupported
    from .lower import lower

    try:
        return lower(graph, machine, dtype, functions)
    except Unsupported as error:
        node = error.node
        path = f" `{node.path}`" if node.path else ""
        place = f", at {node.origins[0].place}" if node.origins else ""
        raise BuildError("E710", f"the operator `{node.op.title}`{path} has no kernel{place}") from None


def kernels(
    graph: Graph, form: str, target: Target = None, dtype: DType = "f32", tell: Tell | None = None
) -> Iterator[tuple[Step, str]]:
    """What each kernel became, with the step that runs it: as `tir`, `llvm` or `asm`, "" if it was before.

    Raises `TargetError` and `BuildError`.
    """
    tell = tell or _silent
    tell("loading TVM")
    ffi()
    from .build import text_of
    from .machine import machine_of

    machine = machine_of(target)
    lowered = lowered_for(graph, machine, dtype)
    seen: set[str] = set()
    for step in (*lowered.program.constants, *lowered.program.steps):
        tell(step.about)
        known = step.external or step.function in seen
        yield step, "" if known else text_of(lowered, step, form, machine)
        seen.add(step.function)


def _silent(stage: str) -> None:
    del stage


def _key(graph: Graph, target: Target, dtype: DType) -> str:
    """A name for all that a build depends on."""
    places = [[str(origin.place) for origin in node.origins[:1]] for node in graph.nodes]
    weights = {path: str(weight.type) for path, weight in graph.weights.items()}
    described = parse(target) or [cpu.description(), cpu.cores()]
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
