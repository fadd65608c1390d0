"""The graph as text and as a picture, and the checks of its structure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planform.compiler.drawing.draw import Box, Edge, Picture, draw, picture_of, to_dot
from planform.compiler.drawing.layout import Item, lay_out
from planform.compiler.drawing.svg import to_svg
from planform.compiler.graph.analysis import to_networkx
from planform.compiler.graph.graph import Graph, Node, Value, Weight
from planform.compiler.graph.text import print_graph
from planform.compiler.graph.verify import GraphError, verify
from planform.compiler.ops import registry
from planform.compiler.ops.core.init import zeros
from planform.compiler.sizes.dims import symbol
from planform.compiler.sizes.guards import Guard
from planform.compiler.types import TensorType
from support.graphs import Net, resnet
from support.timing import Stopwatch


def core(name: str, **arguments: Any) -> Any:
    """An operator of graphs, by name."""
    return registry()[name](**arguments)


def small() -> Graph:
    net = Net("small")
    x = net.input("image", symbol("B"), 3, symbol("H"), 8)
    x = net.call("conv", x, label="stem", out=4, kernel=3, stride=2, pad=1)
    for number in range(2):
        with net.block("residual", f"blocks.{number}"):
            y = net.call("relu", net.call("conv", x, label="conv", out=4, kernel=(1, 3), pad=(0, 1)))
            x = net.call("add", x, y)
    parts = net.builder.add(core("split", sizes=2, axis=1), (x,), ("x",))
    graph = net.builder.freeze({"all": x, "halves": list(parts.results)})
    return replace(graph, guards=(Guard(">=", symbol("H"), 2, "enough rows"),))


# --- text ---


def test_the_text_of_a_graph() -> None:
    assert print_graph(small()) == (
        "graph small(image: [B, 3, H, 8]) {  # %0\n"
        "  guard H >= 2\n"
        "  %2: [B, 4, (H + 1)//2, 4] = conv(%0, .weight) stride=2 pad=1  # stem\n"
        "  %4: [B, 4, (H + 1)//2, 4] = conv(%2, .weight) pad=[0, 1]  # blocks.0.conv\n"
        "  %5: [B, 4, (H + 1)//2, 4] = relu(%4)  # in blocks.0\n"
        "  %6: [B, 4, (H + 1)//2, 4] = add(%2, %5)  # in blocks.0\n"
        "  %8: [B, 4, (H + 1)//2, 4] = conv(%6, .weight) pad=[0, 1]  # blocks.1.conv\n"
        "  %9: [B, 4, (H + 1)//2, 4] = relu(%8)  # in blocks.1\n"
        "  %10: [B, 4, (H + 1)//2, 4] = add(%6, %9)  # in blocks.1\n"
        "  %11: [B, 2, (H + 1)//2, 4], %11.1: [B, 2, (H + 1)//2, 4] = split(%10) sizes=2 axis=1\n"
        "  return {all: %10, halves: [%11, %11.1]}\n"
        "}\n"
    )


def test_weights_of_others_are_written_in_full() -> None:
    net = Net("net")
    x, scale = net.input("x", 4), net.weight("scale", 4)
    graph = net.freeze(net.call("add", x, scale), scale)
    assert "add(%0, y=scale)" in print_graph(graph)
    assert "return (%2, scale)" in print_graph(graph)


def test_the_structure_as_text() -> None:
    assert draw(small()) == (
        "small(image: [B, 3, H, 8])\n"
        "├─ stem: conv                         [B, 4, (H + 1)//2, 4]\n"
        "├─ blocks.0 .. blocks.1: residual x2  [B, 4, (H + 1)//2, 4]\n"
        "│  ├─ conv: conv                      [B, 4, (H + 1)//2, 4]\n"
        "│  ├─ relu                            [B, 4, (H + 1)//2, 4]\n"
        "│  └─ add                             [B, 4, (H + 1)//2, 4]\n"
        "└─ split                              [B, 2, (H + 1)//2, 4]\n"
    )
    assert len(draw(small(), depth=1).splitlines()) == 4
    assert draw(small(), depth=0) == "small(image: [B, 3, H, 8])\n"


# --- structure ---


def test_graphs_are_well_formed() -> None:
    verify(small())
    verify(resnet())
    verify(resnet((1, 1), symbol("B"), symbol("H"), symbol("W")))


def swap(graph: Graph, node: Node) -> Graph:
    """The graph with another node in the place of that number."""
    return replace(graph, nodes=(*graph.nodes[: node.id], node, *graph.nodes[node.id + 1 :]))


def remade(node: Node, **changes: Any) -> Node:
    given = {
        "id": node.id,
        "op": node.op,
        "inputs": node.inputs,
        "slots": node.slots,
        "types": [value.type for value in node.results],
        "path": node.path,
        "origins": node.origins,
    }
    return Node(**(given | changes))


OTHER = TensorType((2, 2))


def find(graph: Graph, title: str) -> Node:
    return next(node for node in graph.nodes if node.op.title == title)


def _reversed(graph: Graph) -> Graph:
    nodes = list(reversed(graph.nodes))
    for number, node in enumerate(nodes):
        node.id = number
    return replace(graph, nodes=tuple(nodes))


def _foreign_result(graph: Graph) -> Graph:
    return replace(graph, output=small().outputs[0])


def _wrong_body_of_initial_content(graph: Graph) -> Graph:
    weight = graph.weights["stem.weight"]
    return replace(graph, weights={**graph.weights, "stem.weight": replace(weight, init=small())})


BROKEN: list[tuple[str, Callable[[Graph], Graph]]] = [
    ("read before it is made", _reversed),
    ("the node at place 1 has the number 2", lambda g: replace(g, nodes=(g.nodes[0], *g.nodes[2:]))),
    ("and inference gives", lambda g: swap(g, remade(find(g, "relu"), types=[OTHER]))),
    ("1 results, and inference gives 2", lambda g: swap(g, remade(find(g, "split"), types=[OTHER]))),
    ("the operand y is given twice", lambda g: swap(g, remade(find(g, "add"), slots=("y", "y")))),
    ("relu has no operand z", lambda g: swap(g, remade(find(g, "relu"), slots=("z",)))),
    ("the operand x is missing", lambda g: swap(g, remade(find(g, "relu"), slots=(), inputs=()))),
    ("1 operands have 2 slots", lambda g: swap(g, remade(find(g, "relu"), slots=("x", "x")))),
    ("must be at least 1", lambda g: swap(g, remade(find(g, "conv"), op=core("conv_with", stride=0)))),
    ("is not in the table", lambda g: replace(g, weights={})),
    ("nothing reads it", lambda g: replace(g, weights={**g.weights, "w": Weight("w", OTHER, zeros())})),
    (
        "has the weight v",
        lambda g: replace(g, weights={**g.weights, "w": Weight("v", OTHER, zeros())}),
    ),
    ("in the table", lambda g: replace(g, weights=dict.fromkeys(g.weights, Weight("w", OTHER, zeros())))),
    ("is not a graph that gives", _wrong_body_of_initial_content),
    ("the result %10 belongs to another graph", _foreign_result),
    ("the inputs are ()", lambda g: replace(g, inputs=())),
    ("the inputs are called ('picture',)", lambda g: replace(g, input_names=("picture",))),
    ("unknown element type f31", lambda g: swap(g, remade(find(g, "relu"), types=[TensorType((), "f31")]))),
]


@pytest.mark.parametrize(("message", "damage"), BROKEN, ids=[message for message, _ in BROKEN])
def test_what_is_broken_is_found(message: str, damage: Callable[[Graph], Graph]) -> None:
    with pytest.raises(GraphError, match=re.escape(message)) as error:
        verify(damage(small()))
    assert "small" in str(error.value)


def test_a_broken_node_is_shown() -> None:
    graph = small()
    with pytest.raises(GraphError, match=re.escape("relu(%4)  # in blocks.0")):
        verify(swap(graph, remade(find(graph, "relu"), types=[OTHER])))


def test_operands_must_be_results_of_the_same_graph() -> None:
    graph = small()
    relu = find(graph, "relu")
    stranger = remade(relu.inputs[0].node).results[0]
    assert stranger.type == relu.inputs[0].type
    with pytest.raises(GraphError, match="belongs to another graph"):
        verify(swap(graph, remade(relu, inputs=(stranger,))))


def test_to_networkx() -> None:
    graph = resnet((1, 1))
    found = to_networkx(graph)
    assert networkx.is_directed_acyclic_graph(found)
    assert found.number_of_edges() == sum(len(node.inputs) for node in graph.nodes)
    dominators = networkx.immediate_dominators(found, graph.inputs[0].node)
    first_add = next(node for node in graph.nodes if node.op.name == "add")
    assert dominators[first_add].op.name == "max_pool"


# --- pictures ---


def test_a_picture_folds_chains_of_equal_calls() -> None:
    picture = picture_of(resnet())
    blocks = [(box.title, box.path, box.repeat) for box in picture.boxes if box.kind == "block"]
    assert blocks[:3] == [
        ("bottleneck", "layer1.0", 1),
        ("bottleneck", "layer1.1 .. layer1.2", 2),
        ("bottleneck", "layer2.0", 1),
    ]
    assert sum(box.repeat for box in picture.boxes if box.kind == "block") == 16
    folded = picture.boxes.index(next(box for box in picture.boxes if box.repeat == 5))
    (entering,) = [edge for edge in picture.edges if edge.target == folded]
    (leaving,) = [edge for edge in picture.edges if edge.source == folded]
    assert entering.label == leaving.label == "[1, 1024, 14, 14]"
    found = picture.to_networkx()
    assert networkx.is_directed_acyclic_graph(found)
    assert len(networkx.dag_longest_path(found)) == len(picture.boxes)


def test_depth_opens_blocks() -> None:
    graph = resnet((1, 1))
    assert [box.kind for box in picture_of(graph, 0).boxes] == ["input", "block", "output"]
    operators = len(list(graph.operators()))
    assert len(picture_of(graph, 2).boxes) == operators + 2
    with pytest.raises(ValueError, match="at least 0"):
        draw(graph, "svg", -1)


def test_calls_whose_results_are_used_elsewhere_are_not_folded() -> None:
    net = Net("net")
    x = net.input("x", 2, 4)
    kept: list[Value] = []
    for number in range(4):
        with net.block("step", f"steps.{number}"):
            x = net.call("relu", x)
        kept.append(x)
    assert max(box.repeat for box in picture_of(net.freeze(x)).boxes) == 4
    assert max(box.repeat for box in picture_of(net.freeze(*kept)).boxes) == 1


def test_alternating_calls_fold_as_pairs() -> None:
    net = Net("net")
    x = net.input("x", 2, 4)
    for number in range(6):
        with net.block(("even", "odd")[number % 2], f"steps.{number}"):
            x = net.call(("relu", "sigmoid")[number % 2], x)
    graph = net.freeze(x)
    (folded,) = [box for box in picture_of(graph).boxes if box.kind == "block"]
    assert (folded.title, folded.path, folded.repeat) == ("even + odd", "steps.0 .. steps.5", 3)
    assert "├─ steps.0: even" in draw(graph)


def test_equal_calls_fold_beside_operators() -> None:
    net = Net("net")
    x = net.input("x", 2, 4)
    for number in range(6):
        with net.block("step", f"steps.{number}"):
            x = net.call("relu", x)
        if number % 2:
            x = net.call("sigmoid", x)
    lines = draw(net.freeze(x), "text", 1).splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == ["├─ steps.0 .. steps.1: step x2", "├─ sigmoid"]


def test_long_chains_are_drawn_in_linear_time() -> None:
    """Folding that looked at the whole chain from each place would take minutes."""
    net = Net("net")
    x = net.input("x", 2, 4)
    for _ in range(20_000):
        x = net.call("relu", x)
    with Stopwatch() as watch:
        assert draw(net.freeze(x), "text", 1).count("relu") == 20_000
    assert watch.seconds < 20


def test_dot_quotes_what_names_hold() -> None:
    boxes = (Box("input", 'x" -> y'), Box("output", "z\\", "line\nbreak"))
    text = to_dot(Picture('a "b" \\', boxes, (Edge(0, 1, ()),)))
    assert 'digraph "a \\"b\\" \\\\" {' in text
    assert 'n0 [label="x\\" -> y"' in text
    assert 'n1 [label="z\\\\\\nline\\nbreak"' in text
    assert 'n0 -> n1 [label=""];' in text


def test_dot_of_a_network() -> None:
    text = draw(small(), "dot")
    assert 'label="residual x2\\nblocks.0 .. blocks.1"' in text
    assert '[label="[B, 3, H, 8]"]' in text
    assert text.count("->") == len(picture_of(small()).edges)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    count = draw(st.integers(1, 12))
    title = st.text(st.characters(max_codepoint=0x2FF), max_size=12)
    kinds = st.sampled_from(["input", "output", "block", "operator"])
    boxes = tuple(
        Box(draw(kinds), draw(title), draw(title), draw(title), draw(st.integers(1, 3))) for _ in range(count)
    )
    pairs = [(a, b) for b in range(count) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    types = st.lists(st.sampled_from([TensorType((1, 2)), TensorType((3,))]), min_size=1, max_size=2)
    return Picture(draw(title), boxes, tuple(Edge(a, b, tuple(draw(types))) for a, b in sorted(chosen)))


@given(pictures())
def test_svg_is_well_formed_and_boxes_keep_apart(picture: Picture) -> None:
    root = ElementTree.fromstring(to_svg(picture))
    space = "{http://www.w3.org/2000/svg}"
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    frames = [
        tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in root.iter(f"{space}rect")
        if box.attrib.get("stroke-width") == "1.2"
    ]
    assert len(frames) == len(picture.boxes)
    arrows = [path for path in root.iter(f"{space}path") if "marker-end" in path.attrib]
    assert len(arrows) == len(picture.edges)
    for number, (x, y, w, h) in enumerate(frames):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, other_h in frames[:number]:
            apart = x >= other_x + other_w or other_x >= x + w or y >= other_y + other_h or other_y >= y + h
            assert apart


@given(pictures())
def test_layers_follow_the_edges_and_items_keep_apart(picture: Picture) -> None:
    items = [Item(10.0 + number, 20.0, 30.0) for number in range(len(picture.boxes))]
    edges = [(edge.source, edge.target) for edge in picture.edges]
    layout = lay_out(items, edges)
    for (source, target), route in zip(edges, layout.routes, strict=True):
        assert layout.layer[target] - layout.layer[source] == len(route) + 1
    for a in range(len(items)):
        for b in range(a):
            if layout.layer[a] == layout.layer[b]:
                left, right = (a, b) if layout.x[a] < layout.x[b] else (b, a)
                assert layout.x[right] - layout.x[left] >= items[left].right + items[right].left - 1e-6


def test_a_residual_network_is_drawn_straight() -> None:
    """Everything on the main path of a residual network stands in one line."""
    root = ElementTree.fromstring(draw(small(), "svg", 2))
    boxes = [
        round(float(box.attrib["x"]) + float(box.attrib["width"]) / 2)
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
        if box.attrib.get("stroke-width") == "1.2"
    ]
    middle = max(set(boxes), key=boxes.count)
    assert boxes.count(middle) >= len(boxes) - 3, "all but the results"
