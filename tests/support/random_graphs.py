"""Random small graphs of the registered operators, and what graphs compute in float64."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from planform.backends.torch.leaves import register
from planform.backends.torch.lower import GraphLowering
from planform.compiler.graph.graph import Graph, Value, Weight
from planform.compiler.ops import Layer, registry
from planform.compiler.ops.core.rules import ShapeError
from planform.compiler.sizes.dims import prod
from support.graphs import Net

# Nothing random, and nothing that jumps: a difference of rounding must stay one. Transforms give complex numbers.
_JUMPS = "floor ceil round trunc sign floor_divide remainder eq ne lt le gt ge argmax argmin sort argsort top_k nms"
_RANDOM = "dropout dropout1d dropout2d dropout3d alpha_dropout drop_path rrelu"
_OTHERS = (
    "hardshrink threshold max_pool_indices max_unpool grid_sample roi_align identity cast scan_loop einsum"
)
EXCLUDED = frozenset(f"{_JUMPS} {_RANDOM} {_OTHERS}".split())
# Drawn more often: what the passes look for.
_VIEWS = (
    "reshape flatten permute transpose squeeze unsqueeze split chunk slice narrow unbind select expand flip"
)
_MAPS = "conv linear batch_norm layer_norm global_avg_pool add mul sub div neg relu abs"
_FAVOURED = tuple(f"{_VIEWS} {_MAPS} concat stack pad identity detach".split())
_SHAPES = ((2, 4, 6, 6), (2, 4, 6), (2, 6), (2, 3, 4), (2, 4, 6, 6))
_MOST = 2000


def random_graph(seed: int, size: int = 25) -> Graph:
    """A graph of about `size` operators without free sizes; every value that nothing reads is a result."""
    rng = random.Random(seed)
    net = Net("random")
    pool = [net.input(f"x{number}", *shape) for number, shape in enumerate(rng.sample(_SHAPES, 3))]
    names = sorted(set(registry()) - EXCLUDED)
    made = 0
    for attempt in range(60 * size):
        name = rng.choice(_FAVOURED if rng.random() < 0.7 else names)
        if name in EXCLUDED and name not in _FAVOURED:
            continue
        try:
            results = _apply(net, name, pool, rng, f"node{attempt}")
        except ShapeError:
            continue
        pool += [value for value in results if value.shape and 0 < int(str(prod(value.shape))) <= _MOST]
        made += 1
        if made == size:
            break
    read = {value for node in net.builder.nodes for value in node.inputs}
    return net.builder.freeze(tuple(value for value in pool if value not in read))


def _apply(net: Net, name: str, pool: list[Value], rng: random.Random, label: str) -> tuple[Value, ...]:
    operator = registry()[name]
    arguments = dict(rng.choice(operator.samples).arguments) if operator.samples else {}
    recent = pool[-6:] if rng.random() < 0.6 else pool
    if name in ("add", "sub", "mul", "div") and rng.random() < 0.4:
        arguments = {"scalar": rng.choice((0, 1, 1.0, 2.0, -0.5))}
    count = 1 if "scalar" in arguments else sum(o.arity != "optional" for o in operator.signature())
    if any(operand.arity == "many" for operand in operator.signature()):
        count = rng.choice((1, 2, 3))
    operands = [rng.choice(recent) for _ in range(count)]
    if count == 2 and rng.random() < 0.3 and not issubclass(operator, Layer):
        operands[1] = net.weight(f"{label}.w", *[int(str(size)) for size in operands[0].shape[-2:-1]], 1)
    if operator.arguments().get("padding_idx") or any(value.type.dtype != "float" for value in operands):
        raise ShapeError("not floats")
    return net.call(name, *operands, label=label, **arguments).node.results


def three_decades(weights: Mapping[str, Weight], seed: int = 0) -> dict[str, Tensor]:
    """Weights of either sign whose sizes spread over three decades; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for path, weight in weights.items():
        shape = [int(str(size)) for size in weight.type.shape]
        if weight.type.dtype != "float":
            found[path] = torch.zeros(shape, dtype=torch.int64)
            continue
        size = 10 ** (3 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1.5)
        sign = torch.randint(0, 2, shape, generator=generator) * 2 - 1
        found[path] = size if path.endswith("running_var") else size * sign
    return found


def random_inputs(graph: Graph, seed: int = 0) -> list[Tensor]:
    """Normal inputs in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn([int(str(size)) for size in value.shape], generator=generator, dtype=torch.float64)
        for value in graph.inputs
    ]


@torch.no_grad()
def evaluate(graph: Graph, inputs: list[Tensor], weights: Mapping[str, Tensor]) -> Any:
    """What the graph computes, by torch's own operators, in the structure of its output."""
    root = nn.Module()
    register(root, graph.weights, {}, lambda weight: weights[weight.path])
    return fx.GraphModule(root, GraphLowering(torch.float64).lower(graph))(*inputs)


def tensors(result: Any) -> list[Tensor]:
    """The tensors of a result in order."""
    if isinstance(result, Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in tensors(part)]


def difference(left: Any, right: Any) -> float:
    """The largest difference, relative to the largest number of each tensor; nan and inf must agree."""
    worst = 0.0
    for a, b in zip(tensors(left), tensors(right), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        if a.is_complex():
            a, b = (torch.view_as_real(each.resolve_conj()) for each in (a, b))
        if not a.is_floating_point():
            assert torch.equal(a, b)
            continue
        finite = torch.isfinite(a)
        assert torch.equal(finite, torch.isfinite(b))
        assert torch.equal(torch.isnan(a), torch.isnan(b))
        if finite.any():
            scale = a[finite].abs().max().item() or 1.0
            worst = max(worst, (a - b)[finite].abs().max().item() / scale)
    return worst
