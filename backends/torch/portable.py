"""A program without its ties to the text that it came from, as it is pickled."""

from __future__ import annotations

from dataclasses import replace

from ...compiler.graph.graph import Graph, Node, Origin, Region, Tree, Value, Weight, map_leaves
from ...compiler.graph.program import Program
from ...compiler.ops.core.base import Mode
from ...compiler.sizes.guards import Guard


def portable(program: Program) -> Program:
    """The same program with block calls by name and path alone, so that it pickles whatever the text held."""
    regions: dict[Region, Region] = {}
    weights = {path: _weight(weight, regions) for path, weight in program.weights.items()}
    graphs: dict[Mode, Graph] = {
        mode: _graph(graph, regions, weights) for mode, graph in program.graphs.items()
    }
    return Program(program.name, graphs, weights, {}, program.refused)


def _graph(graph: Graph, regions: dict[Region, Region], weights: dict[str, Weight]) -> Graph:
    values: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        region = _region(node.region, regions)
        copied = Node(
            node.id,
            node.op,
            tuple(values[value] for value in node.inputs),
            node.slots,
            [value.type for value in node.results],
            node.path,
            (Origin(None, region),) if region is not None else (),
            tuple(_graph(body, regions, weights) for body in node.bodies),
        )
        nodes.append(copied)
        values.update(zip(node.results, copied.results, strict=True))
    output: Tree = map_leaves(graph.output, values.__getitem__)
    return Graph(
        graph.name,
        tuple(nodes),
        tuple(values[value] for value in graph.inputs),
        graph.input_names,
        output,
        {path: weights.get(path) or _weight(weight, regions) for path, weight in graph.weights.items()},
        tuple(Guard(g.relation, g.left, g.right, g.message) for g in graph.guards),
    )


def _weight(weight: Weight, regions: dict[Region, Region]) -> Weight:
    return (
        replace(weight, init=_graph(weight.init, regions, {})) if isinstance(weight.init, Graph) else weight
    )


def _region(region: Region | None, known: dict[Region, Region]) -> Region | None:
    if region is None:
        return None
    if region not in known:
        known[region] = Region(region.block, region.path, _region(region.parent, known))
    return known[region]
