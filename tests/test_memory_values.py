"""Memory plans by what is computed in them: networks run inside their arena, operators with single elements moved."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planform.compiler.cost.sizes import Binding
from planform.compiler.graph.graph import Graph, Node, Value
from planform.compiler.memory import MemoryPlan, plan_memory
from planform.compiler.memory.views import may_overwrite, shares_storage
from support.eager import TORCH, run
from support.graphs import Net, resnet
from support.opcases import Application
from support.programs import operator_cases, operator_program


def compute(node: Node, operands: list[torch.Tensor]) -> list[torch.Tensor]:
    return [result.contiguous() for result in run(node.op, node.slots, operands)]


def evaluated(graph: Graph, given: dict[Value, torch.Tensor]) -> dict[Value, torch.Tensor]:
    """Every value of the graph, each in a tensor of its own."""
    known = dict(given)
    for node in graph.operators():
        known.update(zip(node.results, compute(node, [known[value] for value in node.inputs]), strict=True))
    return known


def in_arena(plan: MemoryPlan, given: dict[Value, torch.Tensor]) -> list[torch.Tensor]:
    """The results of the graph, computed in the plan's order with all planned values in one arena of bytes."""
    arena = torch.full((plan.size,), 0x7F, dtype=torch.uint8)
    outside = dict(given)

    def place(value: Value) -> torch.Tensor:
        shape = sizes(value)
        dtype = TORCH["f32" if value.type.dtype == "float" else value.type.dtype]
        start = plan.offsets[value]
        return arena[start : start + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)

    def read(value: Value) -> torch.Tensor:
        if value in plan.offsets:
            return place(value).clone()
        if value not in outside:
            # A view of what is outside, or computed from weights alone.
            node = value.node
            outside.update(
                zip(node.results, compute(node, [read(each) for each in node.inputs]), strict=True)
            )
        return outside[value]

    for step in plan.steps:
        node = step.node
        if node.op.source:
            made = [given[node.results[0]]]
        else:
            made = compute(node, [read(value) for value in node.inputs])
        for value, tensor in zip(node.results, made, strict=True):
            if value in plan.offsets:
                place(value).copy_(tensor)
            else:
                outside[value] = tensor
    return [read(value) for value in plan.graph.outputs]


def sizes(value: Value) -> tuple[int, ...]:
    """The sizes of a value, all of which are known."""
    return tuple(size for size in value.shape if isinstance(size, int))


def filled(graph: Graph) -> dict[Value, torch.Tensor]:
    """Random inputs and weights."""
    generator = torch.Generator().manual_seed(0)
    found: dict[Value, torch.Tensor] = {}
    for node in graph.nodes:
        if node.op.source:
            value, shape = node.results[0], sizes(node.results[0])
            if value.type.dtype == "float":
                # Positive, since some are variances.
                found[value] = torch.rand(shape, generator=generator) + 0.5
            else:
                found[value] = torch.zeros(shape, dtype=TORCH[value.type.dtype])
    return found


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random operators on [2, 6, 4] and its parts: elementwise, views, copies, several results, weights."""
    net = Net("random")
    values = [net.input("x", 2, 6, 4), net.input("y", 6, 1), net.weight("w", 6, 4)]
    for _ in range(draw(st.integers(1, 14))):
        x = draw(st.sampled_from(values))
        same = [value for value in values if value.shape == x.shape]
        y = draw(st.sampled_from(same))
        rank, axis = len(x.shape), draw(st.integers(0, len(x.shape) - 1))
        match draw(st.integers(0, 9)):
            case 0:
                values.append(net.call("sigmoid", x))
            case 1:
                values.append(net.call("add", x, y))
            case 2:
                values.append(net.call("mul", x, net.call("sum", y, axis=axis, keepdim=True)))
            case 3:
                values.append(net.call("flatten", x, start=0))
            case 4:
                values.append(net.call("permute", x, axes=tuple(reversed(range(rank)))))
            case 5:
                values.append(net.call("slice", x, axis=axis, stop=draw(st.integers(1, 4))))
            case 6:
                values.append(net.call("concat", x, y, axis=axis))
            case 7:
                values.append(net.call("unsqueeze", x, axis=axis))
            case 8:
                values.append(net.call("softmax", x, axis=axis))
            case _:
                values.extend(net.call("chunk", x, parts=2, axis=axis).node.results)
    return net.freeze(*draw(st.lists(st.sampled_from(values), min_size=1, max_size=3)))


@settings(max_examples=120, deadline=None)
@given(graphs(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_networks_compute_the_same_in_their_arena(
    graph: Graph, reorder: bool, in_place: bool, inputs: bool, results: bool
) -> None:
    given = filled(graph)
    known = evaluated(graph, given)
    plan = plan_memory(graph, reorder=reorder, in_place=in_place, inputs=inputs, results=results)
    for got, value in zip(in_arena(plan, given), graph.outputs, strict=True):
        assert torch.equal(got, known[value])


def test_a_resnet_computes_the_same_in_its_arena() -> None:
    graph = resnet((1, 2, 1, 1), 1, 32, 32, 10)
    given = filled(graph)
    plan = plan_memory(graph)
    assert plan.in_place > 10
    (got,) = in_arena(plan, given)
    assert torch.equal(got, evaluated(graph, given)[graph.outputs[0]])


def in_memory(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers of a dense tensor one after another; a complex one is two."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)


@pytest.mark.parametrize("case", operator_cases())
def test_what_may_be_overwritten_is_read_in_its_place_alone(case: Application) -> None:
    made = operator_program(case, free=False)
    if made is None:
        return
    program, given, results = made
    (node,) = program.graph.operators()
    binding = Binding({}, "f32")
    if shares_storage(node, binding):
        assert torch.equal(in_memory(results[0]), in_memory(given[0]))
    for value in may_overwrite(node, binding):
        at = node.inputs.index(value)
        for element in range(given[at].numel()):
            moved = [tensor.clone() for tensor in given]
            flat = moved[at].view(-1)
            flat[element] = ~flat[element] if flat.dtype == torch.bool else flat[element] + 1
            (before,), (after,) = results, run(node.op, node.slots, moved)
            same = torch.isclose(before, after, rtol=0, atol=0, equal_nan=True).reshape(-1)
            others = torch.arange(same.numel()) != element
            assert bool(same[others].all()), f"{case}: element {element} is read elsewhere"


def test_operators_that_may_overwrite_are_found() -> None:
    binding = Binding({}, "f32")
    found: set[str] = set()
    for parameter in operator_cases():
        made = operator_program(parameter.values[0], free=False)  # pyright: ignore[reportArgumentType]
        if made is not None:
            (node,) = made[0].graph.operators()
            if may_overwrite(node, binding):
                found.add(node.op.name)
    assert {"relu", "add", "mul", "sigmoid", "clamp", "where", "batch_norm_with", "lerp", "gelu"} <= found
    assert not found & {"softmax", "layer_norm_with", "cumsum", "conv_with", "matmul", "flip", "sort", "cast"}
