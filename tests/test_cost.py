"""Costs against counts by hand, torch's counter and published figures."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import ModuleType
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from planform.compiler.cost import CONVENTIONS, BindingError, CostReport, Group, conventions, cost
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Graph, Weight
from planform.compiler.graph.program import Program
from planform.compiler.ops import Op, registry
from planform.compiler.ops.core.base import Shape
from planform.compiler.ops.core.counts import NOTHING, Cost
from planform.compiler.ops.core.init import zeros
from planform.compiler.sizes.dims import Size, symbol
from planform.compiler.sizes.guards import Guard
from planform.compiler.types import TensorType
from planform.reports.cost import human, print_cost
from support.graphs import Net, resnet

FORMULAS = {"B": 2, "H": 65, "W": 97}


def symbolic_resnet(*depths: int) -> Graph:
    return resnet(depths or (1, 2, 1, 1), symbol("B"), symbol("H"), symbol("W"), classes=10)


# --- published figures and torch's counter ---


def test_resnet50_has_the_published_figures() -> None:
    report = cost(resnet())
    assert report.params == 25_557_032  # torchvision's metadata of ResNet50_Weights.IMAGENET1K_V1
    assert report.macs() == pytest.approx(4.09e9, rel=0.005)  # the same; GFLOPS there are multiply-adds
    assert report.activations("conv only") == pytest.approx(11.1e6, rel=0.005)  # arXiv:2003.13678, table 2


def test_resnet50_agrees_with_torch_about_products(torchvision: ModuleType) -> None:
    import torch

    with torch.device("meta"):
        model, image = torchvision.models.resnet50(), torch.empty(1, 3, 160, 192)
    report = cost(resnet(height=160, width=192))
    assert 2 * int(report.macs()) == counted_by_torch(model.eval(), image)
    weights = dict(model.named_parameters())
    assert report.params == sum(weight.numel() for weight in weights.values())
    assert report.buffers == sum(buffer.numel() for buffer in model.buffers())


def counted_by_torch(function: Any, *inputs: Any) -> int:
    """FLOPs of matrix products and convolutions, two for each multiply-add."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops()


K3 = {"out": 6, "kernel": 3}
PRODUCTS: list[tuple[str, dict[str, Any], list[tuple[int, ...]], Any]] = [
    ("conv", {**K3, "stride": 2}, [(2, 4, 17)], ("Conv1d", 4, 6, 3, {"stride": 2})),
    ("conv", {**K3, "pad": 1, "groups": 2}, [(2, 4, 9, 8)], ("Conv2d", 4, 6, 3, {"padding": 1, "groups": 2})),
    (
        "conv",
        {"out": 4, "kernel": (3, 5), "groups": 4},
        [(1, 4, 9, 8)],
        ("Conv2d", 4, 4, (3, 5), {"groups": 4}),
    ),
    ("conv", {**K3, "dilation": 2}, [(1, 2, 5, 6, 7)], ("Conv3d", 2, 6, 3, {"dilation": 2})),
    ("conv_transpose", {**K3, "stride": 2}, [(2, 4, 5, 6)], ("ConvTranspose2d", 4, 6, 3, {"stride": 2})),
    ("linear", {"out": 7}, [(2, 3, 5)], ("Linear", 5, 7, {})),
    ("matmul", {}, [(2, 3, 4), (2, 4, 5)], "matmul"),
    ("matmul", {}, [(2, 3, 4), (4, 5)], "matmul"),
]


@pytest.mark.parametrize(("name", "arguments", "shapes", "reference"), PRODUCTS)
def test_products_agree_with_torch(
    name: str, arguments: dict[str, Any], shapes: list[tuple[int, ...]], reference: Any
) -> None:
    import torch

    if isinstance(reference, str):
        function = getattr(torch, reference)
    else:
        kind, *positional, options = reference
        function = getattr(torch.nn, kind)(*positional, **options, bias=False).to("meta")
    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    net = Net("net")
    values = [net.input(f"x{i}", *shape) for i, shape in enumerate(shapes)]
    report = cost(net.freeze(net.call(name, *values, label="op", **arguments)))
    assert 2 * int(report.macs()) == counted_by_torch(function, *inputs)


# --- by hand ---


def small() -> Graph:
    net = Net("small")
    x = net.input("x", 2, 3, 8, 8)
    y = net.call("conv", x, label="stem", out=4, kernel=3, bias=True)  # [2, 4, 6, 6]: 288 elements
    y = net.call("relu", y)
    y = net.call("add", y, y)
    y = net.call("reshape", y, sizes=(2, 144))
    return net.freeze(net.call("linear", y, label="head", out=5, bias=False))


def test_a_small_graph_by_hand() -> None:
    report = cost(small())
    conv, relu, add, view, linear = report.rows
    assert conv.cost == Cost(macs=288 * 27, add=288)
    assert (conv.params, conv.activations) == (108 + 4, 288)
    assert (conv.bytes_read, conv.bytes_written) == (4 * (384 + 108 + 4), 4 * 288)
    assert relu.cost == Cost(compare=288)
    assert (relu.bytes_read, relu.bytes_written) == (4 * 288, 4 * 288)
    assert add.cost == Cost(add=288)
    assert add.bytes_read == 4 * 288, "an operand given twice is read once"
    assert view.cost == NOTHING
    assert (view.activations, view.bytes) == (0, 0)
    assert linear.cost == Cost(macs=10 * 144)
    assert (linear.params, linear.activations, linear.bytes_read) == (720, 10, 4 * (288 + 720))
    assert report.macs() == 288 * 27 + 1440
    assert report.flops() == 2 * (288 * 27 + 1440) + 3 * 288
    assert report.activations() == 3 * 288 + 10
    assert report.activations("conv+linear only") == 288 + 10
    assert report.macs("conv only") == 288 * 27
    assert report.flops("products only") == 2 * (288 * 27 + 1440) + 288
    assert report.params == 832


def test_bytes_follow_the_element_type() -> None:
    assert 2 * int(cost(small(), float_as="f16").bytes) == cost(small()).bytes
    net = Net("mixed")
    mask, ids = net.input("mask", 10, dtype="bool"), net.input("ids", 10, dtype="i64")
    row = cost(net.freeze(net.call("where", mask, ids, ids)), float_as="f64").rows[0]
    assert (row.bytes_read, row.bytes_written) == (10 + 80, 80)


def test_a_shared_weight_counts_once_and_its_work_each_time() -> None:
    net = Net("shared")
    x = net.input("x", 2, 6)
    y = net.call("linear", x, path="gate", out=6, bias=False)
    report = cost(net.freeze(net.call("linear", y, path="gate", out=6, bias=False)))
    assert [row.params for row in report.rows] == [36, 0]
    assert [row.cost.macs for row in report.rows] == [72, 72]
    assert [row.bytes_read for row in report.rows] == [4 * (12 + 36)] * 2
    assert report.params == 36


def test_kinds_of_weights() -> None:
    net = Net("kinds")
    x = net.input("x", 5)
    for weight in (
        net.weight("trained", 5),
        net.weight("frozen", 5, trainable=False),
        net.weight("table", 5, kind="buffer"),
    ):
        x = net.call("add", x, weight)
    report = cost(net.freeze(x, net.weight("query", 3)))
    assert (report.trainable, report.frozen, report.buffers, report.params) == (5 + 3, 5, 5, 13)
    assert (report.rows[-1].op, report.rows[-1].params) == ("weight", 3), (
        "a weight that is a result has a row"
    )


def test_complex_operations_are_counted_in_real_ones() -> None:
    net = Net("complex")
    x, y = net.input("x", 3, dtype="complex"), net.input("y", 3, dtype="complex")
    product = net.call("mul", x, y)
    matrix = net.input("m", 3, 3, dtype="complex")
    rows = cost(net.freeze(net.call("matmul", matrix, product))).rows
    assert rows[0].cost == Cost(multiply=12, add=6)
    assert rows[0].bytes_read == 2 * 3 * 8
    assert rows[1].cost == Cost(macs=4 * 9)


def test_each_mode_of_a_program() -> None:
    def graph(auxiliary: bool) -> Graph:
        net = Net("net")
        x = net.input("x", 2, 4)
        y = net.call("linear", x, label="head", out=3)
        return net.freeze(*([y, net.call("linear", x, label="aux", out=3)] if auxiliary else [y]))

    graphs = {"eval": graph(False), "train": graph(True)}
    program = Program("net", graphs, graphs["train"].weights)  # pyright: ignore[reportArgumentType]
    assert cost(program).params == 15
    assert cost(program, mode="train").params == 30


# --- bodies ---


class RunBody(Op):
    """Runs its body `length` times on the operand: [*s] -> the type of the body's result."""

    name: ClassVar[str] = "run_body"
    length: Size = 1

    def shape(self, x: Shape) -> Shape:
        return x

    def infer(self, types: Any, slots: Any, bodies: Any = ()) -> Any:
        return tuple(value.type for value in bodies[0].outputs), ()

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def repetitions(self, x: Shape) -> Size:
        return self.length


def with_body(length: Size) -> Graph:
    inner = Net("step")
    y = inner.call("linear", inner.input("x", 2, 4), label="cell", out=4)
    builder = Builder("loop")
    x = builder.input("x", TensorType((2, 4)))
    first = builder.add(RunBody(length=length), (x,), ("x",), "rnn", None, (inner.freeze(y),))
    return builder.freeze(first.results[0])


def test_bodies_count_as_often_as_they_run() -> None:
    once, often = cost(with_body(1)), cost(with_body(7))
    assert [row.op for row in often.rows] == ["run_body", "linear"]
    assert often.params == once.params == 20
    assert often.macs() == 7 * 32 == 7 * once.macs()
    assert often.bytes == 7 * once.bytes, "the node that runs the body moves nothing itself"
    assert often.rows[1].times == 7
    assert str(cost(with_body(symbol("T"))).macs()) == "32*T"


# --- symbols ---


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 130), st.integers(1, 130))
def test_bound_costs_are_those_of_concrete_sizes(batch: int, height: int, width: int) -> None:
    bound = cost(symbolic_resnet(), {"B": batch, "H": height, "W": width}).to_dict(by="scope")
    concrete = cost(resnet((1, 2, 1, 1), batch, height, width, classes=10)).to_dict(by="scope")
    assert concrete.pop("bindings") == {}
    assert bound.pop("bindings") == {"B": batch, "H": height, "W": width}
    assert bound == concrete


def test_formulas_are_python_that_gives_the_numbers() -> None:
    def evaluated(thing: Any, key: str = "") -> Any:
        if isinstance(thing, dict):
            return {name: evaluated(item, name) for name, item in thing.items()}
        if isinstance(thing, list):
            return [evaluated(item, key) for item in thing]
        texts = {"plan", "mode", "float", "path", "scope", "blocks", "op", "dtype", "kind"}
        return eval(thing, dict(FORMULAS)) if isinstance(thing, str) and key not in texts else thing

    free, bound = cost(symbolic_resnet()).to_dict(), cost(symbolic_resnet(), FORMULAS).to_dict()
    assert isinstance(free["macs"], str)
    bound["bindings"] = {}
    assert evaluated(free) == bound


def test_some_symbols_may_stay_free() -> None:
    report = cost(symbolic_resnet(), {"H": 64, "W": 64})
    whole = cost(symbolic_resnet(), {"B": 3, "H": 64, "W": 64}).macs()
    assert eval(str(report.macs()), {"B": 3}) == whole


def test_bindings_that_do_not_fit_are_refused() -> None:
    graph = symbolic_resnet()
    with pytest.raises(BindingError, match="no free size Hight; did you mean H") as unknown:
        cost(replace_symbol(), {"Hight": 3})
    assert "W" not in str(unknown.value)
    with pytest.raises(BindingError, match="its free sizes are B, H, W"):
        cost(graph, {"channels": 3})
    with pytest.raises(BindingError, match="at least 0"):
        cost(graph, {"B": -1})
    with pytest.raises(BindingError, match="at least 0"):
        cost(graph, {"B": 1.5})  # pyright: ignore[reportArgumentType]
    guarded = replace(graph, guards=(Guard("%", symbol("H"), 32, "height must be a multiple of 32"),))
    assert cost(guarded, {"H": 64, "W": 1, "B": 1}).params
    with pytest.raises(BindingError, match=r"H % 32 == 0.*H=33 breaks: height must be a multiple"):
        cost(guarded, {"H": 33})


def replace_symbol() -> Graph:
    net = Net("net")
    return net.freeze(net.call("relu", net.input("x", symbol("Height"))))


# --- groups ---


def flat(groups: tuple[Group, ...]) -> list[Group]:
    return [one for group in groups for one in (group, *flat(group.children))]


def add_up(report: CostReport, groups: tuple[Group, ...]) -> None:
    """The groups of a level add up to what is around them."""

    def check(around: Any, below: tuple[Group, ...]) -> None:
        for name in ("operators", "trainable", "frozen", "buffers", "macs", "flops", "activations", "bytes"):
            assert sum(getattr(group.sums, name) for group in below) == getattr(around, name), name
        for group in below:
            if group.children:
                check(group.sums, group.children)

    check(report.sums, groups)


@pytest.mark.parametrize("by", ["op", "scope", "block"])
@pytest.mark.parametrize("depth", [None, 1, 2])
@pytest.mark.parametrize("fold", [True, False])
def test_groups_add_up(by: Any, depth: int | None, fold: bool) -> None:
    report = cost(resnet())
    add_up(report, report.groups(by, depth, fold))


def test_groups_add_up_where_a_label_is_also_a_prefix() -> None:
    net = Net("net")
    x = net.call("linear", net.input("x", 2, 4), label="a", out=4)
    with net.block("inner", "a"):
        x = net.call("relu", net.call("linear", x, label="b", out=4))
    report = cost(net.freeze(x))
    add_up(report, report.groups())
    assert [group.label for group in flat(report.groups())] == ["a", "linear", "a.b", "relu"]


def test_scopes_fold_equal_neighbours() -> None:
    groups = {group.label: group for group in flat(cost(resnet()).groups("scope", 2))}
    folded = groups["layer3.1 .. layer3.5"]
    assert (folded.repeat, folded.block, folded.sums.operators) == (5, "bottleneck", 50)
    assert groups["layer3.0"].repeat == 1
    assert groups["layer3.0"].sums.params + folded.sums.params == groups["layer3"].sums.params == 7_098_368
    unfolded = [group.label for group in flat(cost(resnet()).groups("scope", 2, fold=False))]
    assert "layer3.4" in unfolded
    assert not [label for label in unfolded if ".." in label]


def test_blocks_and_operators() -> None:
    report = cost(resnet())
    bottleneck = next(group for group in report.groups("block") if group.block == "bottleneck")
    assert {child.label: child.sums.operators for child in bottleneck.children} == {
        "conv": 52,
        "batch_norm": 52,
        "relu": 48,
        "add": 16,
    }
    by_op = report.groups("op")
    assert (by_op[0].label, by_op[0].sums.operators, by_op[1].label) == ("conv", 53, "linear")
    with pytest.raises(ValueError, match="at least 1"):
        report.groups(depth=0)


# --- JSON and conventions ---


def test_json_has_the_documented_keys() -> None:
    report = json.loads(json.dumps(cost(symbolic_resnet(), FORMULAS).to_dict(by="scope", depth=2)))
    assert report["planform_json"] == 1
    assert {"plan", "bindings", "params", "macs", "flops", "activations", "bytes", "rows"} <= report.keys()
    assert set(report["ops"]) == {"add", "multiply", "divide", "compare", "transcendental"}
    assert report["macs"] == sum(row["macs"] for row in report["rows"])
    assert report["bytes"] == report["bytes_read"] + report["bytes_written"]
    row = report["rows"][0]
    assert (row["path"], row["op"], row["results"]) == (
        "conv1",
        "conv",
        [{"dtype": "float", "shape": [2, 64, 33, 49]}],
    )
    relu = next(row for row in report["rows"] if row["scope"] == "layer1.0" and row["op"] == "relu")
    assert (relu["path"], relu["blocks"]) == (None, ["bottleneck"])
    assert report["groups"][0]["label"] == "conv1"


def test_conventions_name_operators_that_exist() -> None:
    assert set(registry()) >= conventions.WITH_PRODUCTS
    with pytest.raises(ValueError, match='"conv\\+linear only"'):
        cost(small()).macs("conv")
    assert set(CONVENTIONS) == {"all", "conv+linear only", "conv only", "products only"}


def test_a_weight_of_unknown_size_is_refused() -> None:
    builder = Builder("net")
    x = builder.input("x", TensorType((symbol("N"),)))
    w = builder.weight(Weight("w", TensorType((symbol("N"),)), zeros()))
    graph = builder.freeze(builder.add(registry()["add"](), (x, w), ("x", "y")).results[0])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="the weight w has the unknown size N"):
        cost(graph)


# --- on a terminal ---


def printed(report: CostReport, width: int, **options: Any) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_cost(report, console=console, **options)
    return console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("size", "text"), [
    (0, "0"), (999, "999"), (1000, "1.00 k"), (999_949, "999.9 k"), (999_950, "1.00 M"),
    (25_557_032, "25.56 M"), (4_089_184_256, "4.09 G"), (425_996_264, "426.0 M"), (10**19, "10.00 E"),
])  # fmt: skip
def test_numbers_for_people(size: int, text: str) -> None:
    assert human(size) == text
    assert human(7, "B") == "7 B"
    assert human(2 * symbol("H")) == "2*H"


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("by", ["op", "scope", "block"])
@pytest.mark.parametrize("graph", [resnet(), symbolic_resnet()], ids=["numbers", "formulas"])
def test_tables_fit_the_terminal(width: int, by: Any, graph: Graph) -> None:
    lines = printed(cost(graph), width, by=by, depth=None)
    assert max(len(line) for line in lines) <= min(width, 100)
    rule = next(number for number, line in enumerate(lines) if "───" in line)
    rows = [line for line in lines[rule + 1 :] if line.strip()]
    assert len(rows) == len(flat(cost(graph).groups(by)))


def test_numbers_are_never_cut() -> None:
    for by in ("op", "scope", "block"):
        assert "…" not in "\n".join(printed(cost(resnet()), 80, by=by, depth=2))


def test_what_a_table_says() -> None:
    lines = printed(cost(resnet()), 100)
    assert lines[0].startswith("resnet  eval · f32")
    text = [" ".join(line.split()) for line in lines]
    assert "params 25.56 M, and 53.17 k elements of buffers" in text
    assert "MACs 4.09 G" in text
    assert any(line.startswith("1 .. 5 x5 bottleneck 5.59 M 1.09 G 26.7%") for line in text)
