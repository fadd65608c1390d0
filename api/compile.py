"""A plan as machine code: deployed, its weights computed by torch, its kernels made by TVM."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..compiler.dtypes import FLOATS, DType
from ..compiler.errors import ArgumentError
from ..dsl.diagnostics import PlanError

if TYPE_CHECKING:
    from ..backends.tvm.compile import Tell
    from ..backends.tvm.runtime.artifact import Artifact
    from ..backends.tvm.runtime.compiled import CompiledPlan
    from ..backends.tvm.target import Target
    from ..compiler.rewriting.pipeline import Deployed
    from .model import Model


def to_tvm(
    model: Model,
    weights: Any = None,
    target: Target = None,
    dtype: DType = "f32",
    *,
    seed: int | None = None,
    cached: bool = True,
    tell: Tell | None = None,
) -> CompiledPlan:
    """The plan as machine code for this machine; see `Model.to_tvm`. `tell` is called with each stage."""
    from ..backends.torch.arrays import deployed_arrays, source_weights
    from ..backends.tvm.compile import compile_graph
    from ..backends.tvm.runtime.compiled import with_weights

    deployed = deployed_model(model, dtype)
    tensors = source_weights(deployed.source, weights, seed, lambda: trained(model))
    build = compile_graph(deployed.graph, target, dtype, cached=cached, link=False, tell=tell)
    return with_weights(build, deployed_arrays(deployed, tensors, dtype), about(model))


def to_artifact(
    model: Model,
    tensors: Mapping[str, Any],
    target: Target = None,
    dtype: DType = "f32",
    *,
    cached: bool = True,
    tell: Tell | None = None,
) -> Artifact:
    """The plan with its own weights as an artifact, for any processor.

    Raises `PlanError`, `TargetError` and `BuildError`.
    """
    from ..backends.torch.arrays import deployed_arrays
    from ..backends.tvm.compile import compile_graph
    from ..backends.tvm.runtime.compiled import artifact_of, ready

    deployed = deployed_model(model, dtype)
    build = compile_graph(deployed.graph, target, dtype, cached=cached, tell=tell)
    if tell is not None:
        tell("computing weights")
    return ready(artifact_of(build, deployed_arrays(deployed, tensors, dtype), about(model)))


def deployed_model(model: Model, dtype: DType = "f32") -> Deployed:
    """The model's eval graph deployed; raises `PlanError`, and `ArgumentError` for what is no float type."""
    if dtype not in FLOATS:
        raise ArgumentError(f"there is no float {dtype!r}; they are {', '.join(FLOATS)}")
    return model.deploy()


def trained(model: Model) -> Collection[str]:
    """The paths of all weights that the plan has in training; none where its training is wrong."""
    try:
        return model.program.weights.keys()
    except PlanError:
        return ()


def about(model: Model) -> dict[str, Any]:
    """What an artifact says of its plan."""
    said = {name: value for name, value in model.file.scope.about.items() if _plain(value)}
    return {"versions": {"planform": __version__}, "plan": model.name, "about": said}


def _plain(value: Any) -> bool:
    """Whether a value is what JSON holds."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_plain, value))
    return value is None or isinstance(value, (str, int, float, bool))
