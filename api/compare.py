"""Two backends held against each other: whether results differ, and from which labelled value on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ..compiler.graph.graph import Graph, Origin, Value
from ..compiler.rewriting.pipeline import Deployed
from .compile import deployed_model

if TYPE_CHECKING:
    from .model import Model

Backend = Literal["torch", "deploy", "tvm"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Difference:
    """How far a value is apart: the largest difference, as a part of the largest number in the first.

    It is NaN where one of the two is not a number and the other is.
    """

    name: str
    error: float
    origins: tuple[Origin, ...] = ()

    def within(self, tolerance: float) -> bool:
        """Whether it is no more than that."""
        return self.error <= tolerance


@dataclass(frozen=True)
class Comparison:
    """The results; if they differ, the first labelled value that does, or the `reason` why there is none."""

    ok: bool
    results: tuple[Difference, ...]
    first: Difference | None = None
    reason: str | None = None


def compare(
    model: Model,
    a: Backend,
    b: Backend,
    weights: Mapping[str, Any],
    inputs: Sequence[Any],
    tolerance: float = 1e-3,
    tell: Tell = lambda stage: None,
) -> Comparison:
    """Run the plan in both, with its own weights.

    `inputs` are arrays or tensors. Where results differ, the deployed graph is run again with its labelled
    values as results. Raises what the backends raise.
    """
    import numpy as np

    inputs = [np.asarray(each) for each in inputs]
    deployed = deployed_model(model)
    tell(f"running {a}")
    left = _run(a, deployed, weights, inputs)
    tell(f"running {b}")
    right = _run(b, deployed, weights, inputs)
    results = tuple(Difference(name, error(x, right[name])) for name, x in left.items())
    if all(each.within(tolerance) for each in results):
        return Comparison(True, results)
    if "tvm" not in (a, b):
        return Comparison(False, results, None, "the plan and its optimised graph differ")
    tell("looking for the first value")
    tapped, values = tap(deployed)
    left, right = (_run(each, tapped, weights, inputs) for each in ("deploy", "tvm"))
    for name, value in values.items():
        found = Difference(name, error(left[f"taps.{name}"], right[f"taps.{name}"]), value.node.origins)
        if not found.within(tolerance):
            return Comparison(False, results, found)
    return Comparison(False, results, None, "they differ where kernels or the optimiser join operators")


def tap(deployed: Deployed) -> tuple[Deployed, dict[str, Value]]:
    """The graph with its labelled values as further results, in order; and those values by their names.

    A labelled value is the result of a call that has a label, or of the last operator in a block that has.
    """
    found: dict[str, Value] = {}
    for node in deployed.graph.operators():
        region = node.region.path if node.region is not None else ""
        for name in (node.path, region):
            if name and node.results:
                found.pop(name, None)  # a block's value is its last
                found[name] = node.results[0]
    graph: Graph = replace(deployed.graph, output={"results": deployed.graph.output, "taps": found})
    return replace(deployed, graph=graph), found


def error(left: Any, right: Any) -> float:
    """The largest difference of two arrays as a part of the largest number in the first."""
    import numpy as np

    x, y = (
        np.asarray(each, np.complex128 if each.dtype.kind == "c" else np.float64) for each in (left, right)
    )
    if x.shape != y.shape or (np.isfinite(x) != np.isfinite(y)).any():
        return float("nan")
    finite = np.isfinite(x)
    if not finite.any():
        return 0.0
    apart = float(np.abs(x[finite] - y[finite]).max())
    return apart / (float(np.abs(x[finite]).max()) or 1.0)


def _run(
    backend: Backend, deployed: Deployed, weights: Mapping[str, Any], inputs: Sequence[Any]
) -> dict[str, Any]:
    """The results by name, as numpy arrays."""
    from ..cli.run_artifact import named

    if backend == "tvm":
        from ..backends.torch.arrays import deployed_arrays
        from ..backends.tvm.compile import compile_graph
        from ..backends.tvm.runtime.compiled import with_weights

        build = compile_graph(deployed.graph, link=False)
        return dict(named(with_weights(build, deployed_arrays(deployed, weights))(*inputs)))
    from ..backends.torch.arrays import evaluated

    return dict(named(evaluated(deployed, weights, inputs, optimised=backend == "deploy")))
