"""A plan deployed: the optimised graph, with weights computed once from the plan's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...compiler.graph.graph import Graph, Weight
from ...compiler.graph.program import Program
from ...compiler.rewriting.pipeline import Deployed, deploy
from .dtypes import torch_dtype
from .leaves import register
from .lower import GraphLowering
from .module import PlanModule, assemble, graph_view, initial, seeded
from .onednn import available, fuse_epilogues, pack
from .portable import portable
from .weights import BindError, bind

# What weights are computed in, before they are rounded to what the module computes in.
_WIDE = torch.float64
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


class DeployedModule(PlanModule):
    """A plan's network for inference, with weights of its own; `to_deployed` makes it.

    Convolutions and linear maps stand at the plan's label paths with merged weights; its `state_dict` holds
    those. `prepare` computes them from the plan's weights.
    """

    # The prologue, over the table of the plan's own weights.
    _source: Program
    prepare: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    _own: ClassVar[dict[str, str]] = {**PlanModule._own, "prepare": "_prepare"}

    def _prepare(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The deployed weights of the plan's weights: what `load_state_dict` takes.

        They are computed in float64 and rounded once. Raises `BindError` unless all of `state_dict` fits.
        """
        report = bind(self._source, state_dict)
        if not report.ok:
            raise BindError(report)
        return self._compute(report.tensors)

    def _compute(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = self.state_dict()
        wide = run_prologue(self._source.graph, tensors)
        # A weight that is not saved is made by the plan alone, and stays as it is.
        return {path: tensor.to(own[path]) for path, tensor in wide.items() if path in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for graph in self._graphs.values():
            fuse_epilogues(graph)

    def __reduce__(self) -> tuple[Any, ...]:
        restore, arguments, state = super().__reduce__()
        return restore, arguments, state | {"_source": portable(self._source)}


def to_deployed(
    program: Program,
    state_dict: Mapping[str, Tensor] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    seed: int | None = None,
    channels_last: bool | None = None,
    deployed: Deployed | None = None,
) -> DeployedModule:
    """A module that computes the program's eval graph, optimised, in eval mode and without gradients.

    Weights come from a `state_dict` of the plan (as of `to_torch(program)`), or are the plan's initial ones,
    drawn as `to_torch` draws them. `channels_last` lays 2-D convolutions out so, where None on the CPU.
    `deployed` is the program deployed, if that is known. Raises `LoweringError` and `BindError`.
    """
    place = torch.device(device) if device is not None else torch.get_default_device()
    deployed = deploy(program) if deployed is None else deployed
    main = deployed.program

    def empty(weight: Weight) -> Tensor:
        shape = cast("tuple[int, ...]", weight.type.shape)
        return torch.empty(shape, dtype=torch_dtype(weight.type.dtype, dtype), device=place)

    with seeded(seed, place):
        module = cast("DeployedModule", assemble(main, dtype, place, empty, DeployedModule))
        module._source = Program(program.name, {"eval": deployed.prologue}, program.weights)
        if place.type != "meta":
            _fill(module, program, state_dict, dtype)
    module.eval().requires_grad_(False)
    if channels_last is None:
        channels_last = place.type == "cpu"
    if channels_last:
        for leaf in module.modules():
            if isinstance(leaf, _CONVOLUTIONS):
                leaf.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for graph in module._graphs.values():
            _norm_row_by_row(graph)
    if available() and pack(module):
        for graph in module._graphs.values():
            fuse_epilogues(graph)
    return module


def _norm_row_by_row(graph: fx.GraphModule) -> None:
    """Give group norms their values row by row.

    Of channels that are last torch takes the variance as the mean of squares less the square of the mean,
    which cancels: of a mean of a hundred deviations, it is off a thousand times further.
    """
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if node.target is not F.group_norm and not isinstance(modules.get(str(node.target)), nn.GroupNorm):
            continue
        with graph.graph.inserting_before(node):
            rows = graph.graph.call_method("contiguous", (node.args[0],))
        node.args = (rows, *node.args[1:])
    graph.recompile()


def _fill(
    module: DeployedModule, program: Program, state_dict: Mapping[str, Tensor] | None, dtype: torch.dtype
) -> None:
    if state_dict is not None:
        module.load_state_dict(module._prepare(state_dict))
        return
    cpu = torch.device("cpu")
    module.load_state_dict(
        module._compute({path: initial(weight, dtype, cpu) for path, weight in program.weights.items()})
    )


@torch.no_grad()
def run_prologue(prologue: Graph, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a prologue gives, in float64 on the CPU, from the plan's weights by path.

    Weights that `tensors` lacks have their initial content: those that a plan makes and does not save.
    """
    cpu = torch.device("cpu")

    def make(weight: Weight) -> Tensor:
        found = tensors.get(weight.path)
        if found is None:
            return initial(weight, _WIDE, cpu)
        return found.detach().to(cpu, torch_dtype(weight.type.dtype, _WIDE))

    root = nn.Module()
    register(root, prologue.weights, {}, make)
    made = graph_view(root, GraphLowering(_WIDE).lower(prologue))
    return type(made).forward(root)
