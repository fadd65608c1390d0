"""Deployed graphs: what is merged computes the same to 1e-10 in float64, and what is not is refused with a reason."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

import planform
from planform.backends.torch import DeployedModule, to_deployed, to_torch
from planform.backends.torch.deploy import run_prologue
from planform.backends.torch.weights import BindError
from planform.compiler.graph.graph import Graph, Value
from planform.compiler.graph.program import Program
from planform.compiler.rewriting.pipeline import Deployed, deploy
from planform.compiler.sizes.dims import prod, symbol
from support.graphs import Net
from support.random_graphs import difference, evaluate, random_inputs, three_decades

Build = Callable[[Net, Value], Value]


def made(build: Build, *shape: Any) -> Graph:
    """The graph of what is built on one input."""
    net = Net("example")
    return net.freeze(build(net, net.input("x", *shape)))


def program(graph: Graph) -> Program:
    """A program of eval mode alone."""
    return Program(graph.name, {"eval": graph}, graph.weights)


def deployed(graph: Graph, seed: int = 0) -> Deployed:
    """The graph deployed, after showing that it computes the same."""
    found = deploy(program(graph), check=True)
    weights = three_decades(graph.weights, seed)
    inputs = random_inputs(graph, seed)
    after = evaluate(found.graph, inputs, run_prologue(found.prologue, weights))
    assert difference(evaluate(graph, inputs, weights), after) < 1e-10
    return found


def titles(found: Deployed) -> list[str]:
    return [node.op.title for node in found.graph.operators()]


def reasons(found: Deployed) -> str:
    return "\n".join(refusal.reason for refusal in found.refusals)


def chain(*calls: tuple[str, dict[str, Any]]) -> Build:
    """Operators one after the other, each with a label."""

    def build(net: Net, x: Value) -> Value:
        for number, (name, arguments) in enumerate(calls):
            x = net.call(name, x, label=f"{name}{number}", **arguments)
        return x

    return build


NORM: tuple[str, dict[str, Any]] = ("batch_norm", {"eps": 1e-3})


def conv(out: int = 6, kernel: Any = 3, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("conv", {"out": out, "kernel": kernel, **more})


def transposed(out: int = 6, kernel: Any = 2, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("conv_transpose", {"out": out, "kernel": kernel, **more})


IMAGE = (2, 4, 7, 6)

# What folds into the map named.
FOLDS: dict[str, tuple[Build, tuple[int, ...], str]] = {
    "conv, norm": (chain(conv(), NORM), IMAGE, "conv"),
    "conv with bias, norm": (chain(conv(bias=True, pad=1, stride=2), NORM), IMAGE, "conv"),
    "grouped conv, norm": (chain(conv(8, groups=2, pad="same"), NORM), IMAGE, "conv"),
    "depthwise conv, norm": (chain(conv(4, groups=4, pad=1, bias=True), NORM), IMAGE, "conv"),
    "conv over one axis, norm": (chain(conv(5, dilation=2), NORM), (2, 4, 9), "conv"),
    "conv over three axes, norm": (chain(conv(5, 2), NORM), (2, 4, 3, 4, 3), "conv"),
    "norm, conv": (chain(NORM, conv()), IMAGE, "conv"),
    "norm, grouped conv": (chain(NORM, conv(8, groups=2, bias=True)), IMAGE, "conv"),
    "norm, depthwise conv": (chain(NORM, conv(8, groups=4)), IMAGE, "conv"),
    "norm, conv, norm": (chain(NORM, conv(stride=2), NORM), IMAGE, "conv"),
    "linear, norm": (chain(("linear", {"out": 5}), NORM), (3, 4), "linear"),
    "linear without bias, norm": (chain(("linear", {"out": 5, "bias": False}), NORM), (3, 4), "linear"),
    "norm, linear": (chain(NORM, ("linear", {"out": 5})), (3, 4), "linear"),
    "transposed conv, norm": (chain(transposed(stride=2), NORM), IMAGE, "conv_transpose"),
    "grouped transposed conv, norm": (
        chain(transposed(groups=2, stride=2, pad=1, kernel=3, bias=True), NORM),
        IMAGE,
        "conv_transpose",
    ),
    "norm, transposed conv of points": (chain(NORM, transposed(kernel=1, groups=2)), IMAGE, "conv_transpose"),
    "frozen norm": (chain(conv(), ("frozen_batch_norm", {})), IMAGE, "conv"),
    "norm without weights": (chain(conv(), ("batch_norm", {"affine": False})), IMAGE, "conv"),
    "scalars": (chain(conv(), ("mul", {"scalar": 0.5}), ("add", {"scalar": 2}), ("neg", {})), IMAGE, "conv"),
    "subtracted from a number": (chain(conv(), ("sub", {"scalar": 2.0, "reverse": True})), IMAGE, "conv"),
    "a scale before": (chain(("div", {"scalar": 3.0}), conv(pad=1)), IMAGE, "conv"),
    "a scale before a transposed conv": (
        chain(("mul", {"scalar": 3.0}), transposed(stride=2, groups=2)),
        IMAGE,
        "conv_transpose",
    ),
}


@pytest.mark.parametrize("name", FOLDS)
def test_what_folds(name: str) -> None:
    build, shape, map = FOLDS[name]
    found = deployed(made(build, *shape))
    assert titles(found) == [map]
    assert not found.refusals
    (node,) = found.graph.operators()
    assert node.path is not None and set(found.graph.weights) <= {f"{node.path}.weight", f"{node.path}.bias"}


@pytest.mark.parametrize("seed", range(8))
def test_folds_of_many_weights(seed: int) -> None:
    build = chain(
        conv(8, pad=1), NORM, ("relu", {}), conv(8, pad=1, groups=4), NORM, ("relu", {}), conv(5, 1), NORM
    )
    assert titles(deployed(made(build, *IMAGE), seed)) == ["conv", "relu", "conv", "relu", "conv"]


def _between(*calls: tuple[str, dict[str, Any]], first: Any = None) -> Build:
    return chain(first or conv(), *calls, NORM)


@pytest.mark.parametrize(
    ("calls", "rest"),
    [
        ([("pad", {"amounts": (1, 1, 2, 0), "mode": "reflect"})], ["conv", "pad"]),
        ([("pad", {"amounts": (-1, -1)})], ["conv", "pad"]),
        ([("global_avg_pool", {})], ["conv", "global_avg_pool"]),
        ([("roll", {"shifts": 1, "axis": 2})], ["conv", "roll"]),
        ([("flatten", {"start": 2})], ["conv", "flatten"]),
    ],
)
def test_norms_fold_through_what_moves_elements(calls: Any, rest: list[str]) -> None:
    assert titles(deployed(made(_between(*calls), *IMAGE))) == rest


def test_norms_fold_across_a_change_of_axes() -> None:
    rows = chain(("linear", {"out": 5}), ("permute", {"axes": (0, 2, 1)}), NORM)
    assert titles(deployed(made(rows, 2, 7, 4))) == ["linear", "permute"]
    merged = chain(("linear", {"out": 5}), ("flatten", {"start": 0, "end": 1}), NORM)
    assert titles(deployed(made(merged, 2, 7, 4))) == ["linear", "flatten"]
    named = chain(("linear", {"out": 5}), ("rearrange", {"pattern": "b n c -> b c n"}), NORM)
    assert titles(deployed(made(named, 2, 7, 4))) == ["linear", "rearrange"]


@pytest.mark.parametrize(
    ("build", "shape", "reason"),
    [
        (
            chain(NORM, conv(pad=1)),
            IMAGE,
            "conv pads with zeros, which the shift of batch_norm does not reach",
        ),
        (chain(NORM, transposed(stride=2)), IMAGE, "see the shift of batch_norm in different numbers"),
        (_between(("pad", {"amounts": (1, 1)})), IMAGE, "what pad fills in would miss the shift"),
        (
            chain(NORM, ("pad", {"amounts": (1, 1), "value": 2.0}), conv()),
            IMAGE,
            "what pad fills in would miss",
        ),
        (
            chain(("linear", {"out": 5}), NORM),
            (2, 7, 4),
            "axis 1 of what linear gives, whose channels are axis 2",
        ),
        (chain(NORM, ("linear", {"out": 5})), (2, 7, 4), "the channels of linear come from axis 2"),
        (chain(NORM, ("relu", {})), IMAGE, "stands between the input and relu"),
        (chain(conv(), ("batch_norm", {"track": False})), IMAGE, "stands between conv and the result"),
        (chain(("add", {"scalar": 1.0}), conv(pad=1)), IMAGE, "the shift of add does not reach"),
    ],
)
def test_what_is_not_exact_is_refused(build: Build, shape: tuple[int, ...], reason: str) -> None:
    graph = made(build, *shape)
    found = deployed(graph)
    assert reason in reasons(found)
    assert len(titles(found)) == len(list(graph.operators()))
    assert all(refusal.origins for refusal in found.refusals)


def test_a_result_read_twice_stays() -> None:
    def build(net: Net, x: Value) -> Value:
        y = net.call("conv", x, label="conv", out=4, kernel=1)
        return net.call("mul", y, net.call("sigmoid", net.call("batch_norm", y, label="norm")))

    found = deployed(made(build, *IMAGE))
    assert titles(found) == ["conv", "batch_norm", "sigmoid", "mul"]
    assert "the result of conv is read once more" in reasons(found)


def test_a_kernel_for_each_sample_is_refused() -> None:
    def build(net: Net, x: Value) -> Value:
        kernels = net.call(
            "unflatten",
            net.call("linear", net.call("global_avg_pool", x), label="k", out=36),
            axis=1,
            sizes=(3, 4, 3, 1),
        )
        return net.call("batch_norm", net.call("conv_with", x, kernels), label="norm")

    assert "the weight of conv is computed from the input" in reasons(deployed(made(build, *IMAGE)))


# --- scales, norms, the input ---


def test_layer_scale() -> None:
    def rows(net: Net, x: Value) -> Value:
        y = net.call("linear", net.call("relu", x), label="fc", out=4)
        return net.call("add", x, net.call("mul", y, net.weight("gamma", 4)))

    def planes(net: Net, x: Value) -> Value:
        y = net.call(
            "permute",
            net.call("linear", net.call("permute", x, axes=(0, 2, 3, 1)), label="fc", out=4),
            axes=(0, 3, 1, 2),
        )
        return net.call("mul", y, net.weight("gamma", 4, 1, 1))

    assert titles(deployed(made(rows, 2, 7, 4))) == ["relu", "linear", "add"]
    assert titles(deployed(made(planes, *IMAGE))) == ["permute", "linear", "permute"]


def test_a_layer_norm_gives_its_weights_to_what_follows() -> None:
    def build(net: Net, x: Value) -> Value:
        y = net.call("layer_norm", x, label="norm")
        q, k, v = (net.call("linear", y, label=name, out=4) for name in "qkv")
        return net.call("add", q, net.call("mul", k, v))

    found = deployed(made(build, 2, 7, 4))
    assert titles(found).count("layer_norm") == 1
    assert not any("norm" in path for path in found.graph.weights)


def test_a_layer_norm_that_others_read_keeps_its_weights() -> None:
    def build(net: Net, x: Value) -> Value:
        y = net.call("layer_norm", x, label="norm")
        return net.call("mul", y, net.call("linear", y, label="fc", out=4))

    found = deployed(made(build, 2, 7, 4))
    assert "norm.weight" in found.graph.weights
    assert "read once more" in reasons(found)


def test_a_bias_that_costs_more_than_the_norms_weights_is_refused() -> None:
    build = chain(("layer_norm", {}), ("linear", {"out": 16, "bias": False}))
    assert "has no bias" in reasons(deployed(made(build, 2, 7, 4)))


def test_input_normalisation() -> None:
    def build(net: Net, x: Value, pad: int) -> Value:
        mean = net.call("tensor", values=(((0.485,),), ((0.456,),), ((0.406,),)))
        deviation = net.call("tensor", values=(((0.229,),), ((0.224,),), ((0.225,),)))
        x = net.call("div", net.call("sub", x, mean), deviation)
        return net.call("conv", x, label="stem", out=4, kernel=3, pad=pad)

    found = deployed(made(lambda net, x: build(net, x, 0), 2, 3, 7, 6))
    assert [title for title in titles(found) if title != "tensor"] == ["conv"]
    found = deployed(made(lambda net, x: build(net, x, 1), 2, 3, 7, 6))
    assert "sub" in titles(found) and "div" not in titles(found)
    assert "the shift of sub does not reach" in reasons(found)


# --- parallel branches ---


def _conv(net: Net, x: Value, label: str, kernel: Any, **arguments: Any) -> Value:
    """A convolution that keeps the size, and its norm."""
    stride = arguments.pop("stride", 1)
    spans = [
        arguments.get("dilation", 1) * (k - 1)
        for k in (kernel if isinstance(kernel, tuple) else (kernel, kernel))
    ]
    pad = tuple((span // 2, span // 2) for span in spans)
    out = arguments.pop("out", 4)
    x = net.call(
        "conv", x, label=f"{label}.conv", out=out, kernel=kernel, pad=pad, stride=stride, **arguments
    )
    return net.call("batch_norm", x, label=f"{label}.norm")


def _sum(net: Net, *values: Value) -> Value:
    total = values[0]
    for value in values[1:]:
        total = net.call("add", total, value)
    return total


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_block_of_repvgg(groups: int) -> None:
    def build(net: Net, x: Value) -> Value:
        large = _conv(net, x, "dense", 3, groups=groups)
        small = _conv(net, x, "point", 1, groups=groups)
        return net.call("relu", _sum(net, large, small, net.call("batch_norm", x, label="identity")))

    found = deployed(made(build, *IMAGE))
    assert titles(found) == ["conv", "relu"]
    assert [weight.type.shape for weight in found.graph.weights.values()] == [(4, 4 // groups, 3, 3), (4,)]
    assert list(found.graph.weights) == ["dense.conv.weight", "dense.conv.bias"]


BRANCHES: dict[str, Build] = {
    "stride": lambda net, x: _sum(net, _conv(net, x, "a", 3, stride=2), _conv(net, x, "b", 1, stride=2)),
    "dilated": lambda net, x: _sum(
        net,
        _conv(net, x, "a", 7, groups=4),
        _conv(net, x, "b", 3, dilation=2, groups=4),
        _conv(net, x, "c", (3, 1), dilation=3, groups=4),
    ),
    "alike dilated": lambda net, x: _sum(
        net, _conv(net, x, "a", 3, dilation=2), _conv(net, x, "b", 3, dilation=2)
    ),
    "unpadded": lambda net, x: _sum(
        net,
        net.call("conv", x, label="a", out=4, kernel=3),
        net.call("conv", x, label="b", out=4, kernel=5, pad=1, bias=True),
    ),
    "uneven": lambda net, x: _sum(
        net,
        net.call("conv", x, label="a", out=4, kernel=(5, 4), pad=((1, 3), (3, 0))),
        net.call("conv", x, label="b", out=4, kernel=3, pad="same"),
    ),
    "scaled": lambda net, x: _sum(
        net, net.call("mul", x, net.weight("gamma", 4, 1, 1)), _conv(net, x, "a", 3), x
    ),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_branches_merge(name: str) -> None:
    found = deployed(made(BRANCHES[name], 2, 4, 11, 10))
    assert titles(found) == ["conv"]
    assert next(iter(found.graph.weights)).startswith("a.")
    op: Any = next(found.graph.operators()).op
    assert op.dilation == ((2, 2) if name == "alike dilated" else (1, 1))


def test_linear_branches_merge() -> None:
    def build(net: Net, x: Value) -> Value:
        a = net.call("linear", x, label="a", out=4)
        b = net.call("mul", net.call("linear", x, label="b", out=4, bias=False), scalar=0.5)
        return _sum(net, a, b, x)

    assert titles(deployed(made(build, 2, 5, 4))) == ["linear"]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (
            lambda net, x: _sum(net, _conv(net, x, "a", 3, groups=4), _conv(net, x, "b", 1)),
            "the branches have 4 and 1 groups",
        ),
        (
            lambda net, x: _sum(net, _conv(net, x, "a", (1, 7)), _conv(net, x, "b", (7, 1))),
            "one kernel has 49 taps, and the branches have 14",
        ),
        (
            lambda net, x: _sum(
                net,
                net.call("conv", x, label="a", out=4, kernel=3, stride=2, pad=1),
                net.call("conv", x, label="b", out=4, kernel=5),
            ),
            "the branches have different strides",
        ),
    ],
)
def test_branches_that_do_not_merge(build: Build, reason: str) -> None:
    found = deployed(made(build, 2, 4, 9, 9))
    assert "add" in titles(found)
    assert reason in reasons(found)


def test_branches_of_different_inputs_are_no_candidates() -> None:
    def build(net: Net, x: Value) -> Value:
        return _sum(net, _conv(net, x, "a", 3), _conv(net, net.call("relu", x), "b", 3))

    found = deployed(made(build, *IMAGE))
    assert titles(found) == ["conv", "relu", "conv", "add"] and not found.refusals


# --- consecutive maps ---


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (chain(("linear", {"out": 4}), ("linear", {"out": 3})), (2, 5, 4)),
        (chain(conv(4, 1, bias=True), conv(3, 1)), IMAGE),
        (chain(conv(4, 1, bias=True), conv(5, 3, stride=2)), IMAGE),
        (chain(conv(4, 1), conv(5, 3, pad=1, dilation=2)), IMAGE),
        (chain(conv(5, 3, pad=1, stride=2, bias=True), conv(4, 1, bias=True)), IMAGE),
        (chain(conv(5, 3, pad="same"), NORM, conv(4, 1), NORM), IMAGE),
        (chain(conv(4, 1, bias=True), conv(3, 1)), (2, 4, 9)),
    ],
)
def test_consecutive_maps_join(build: Build, shape: tuple[int, ...]) -> None:
    found = deployed(made(build, *shape))
    assert len(titles(found)) == 1
    assert str(next(iter(found.graph.weights))).endswith("0.weight")


@pytest.mark.parametrize(
    ("build", "shape", "reason"),
    [
        (chain(("linear", {"out": 1}), ("linear", {"out": 4})), (2, 5, 4), "one map has 16 multiply-adds"),
        (chain(conv(4, 1, bias=True), conv(5, 3, pad=1)), IMAGE, "which the bias of the convolution before"),
        (chain(conv(4, 3), conv(5, 3)), IMAGE, "neither convolution is 1x1"),
        (chain(conv(4, 3, groups=4), conv(5, 1)), IMAGE, "a grouped convolution does not see all channels"),
    ],
)
def test_consecutive_maps_that_stay(build: Build, shape: tuple[int, ...], reason: str) -> None:
    found = deployed(made(build, *shape))
    assert len(titles(found)) == 2
    assert reason in reasons(found)


def test_the_convolution_takes_zeros_around_its_input() -> None:
    found = deployed(made(chain(("pad", {"amounts": (1, 2, 0, 1)}), conv(pad=1), NORM), *IMAGE))
    assert titles(found) == ["conv"]


def test_free_sizes_stay_free() -> None:
    build = chain(conv(8, pad=1, stride=2), NORM, ("relu", {}), conv(4, 1), conv(4, 1))
    found = deploy(program(made(build, symbol("B"), 4, symbol("H"), symbol("W"))), check=True)
    assert titles(found) == ["conv", "relu", "conv"]


def test_a_shared_convolution_has_weights_for_each_norm() -> None:
    def build(net: Net, x: Value) -> Value:
        for level in range(2):
            x = net.call("conv", x, path="head.conv", out=4, kernel=3, pad=1)
            x = net.call("relu", net.call("batch_norm", x, label=f"norm{level}"))
        return x

    found = deployed(made(build, *IMAGE))
    assert titles(found) == ["conv", "relu", "conv", "relu"]
    assert len(found.graph.weights) == 4


# --- whole networks, in torch ---


@pytest.mark.parametrize("name", ["repvgg_a0", "repvgg_b1g4"])
def test_repvgg_deploys_to_timms_count(name: str, timm: ModuleType) -> None:
    from timm.utils.model import reparameterize_model

    with torch.device("meta"):
        reference = reparameterize_model(timm.create_model(name))
    wanted = sum(parameter.numel() for parameter in reference.parameters())
    found = planform.load(name).deploy()
    assert sum(int(str(prod(weight.type.shape))) for weight in found.graph.weights.values()) == wanted
    assert "batch_norm" not in titles(found) and "add" not in titles(found)


@pytest.mark.parametrize(("plan", "sizes"), [("resnet18", (1, 3, 40, 40)), ("convnext_tiny", (1, 3, 64, 64))])
def test_a_network_in_torch(plan: str, sizes: tuple[int, ...]) -> None:
    source = planform.load(plan).program
    plain = to_torch(source, seed=0, dtype=torch.float64).eval()
    weights = {path: tensor for path, tensor in plain.state_dict().items()}
    with torch.no_grad():
        for path, tensor in weights.items():
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.copy_(torch.rand_like(tensor) + (0.5 if path.endswith("var") else 0))
    module = to_torch(source, mode="deploy", state_dict=weights, dtype=torch.float64)
    image = torch.randn(sizes, dtype=torch.float64)
    with torch.no_grad():
        wanted = plain(image)
        assert difference(wanted, module(image)) < 1e-10
        for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert difference(wanted, copied(image)) < 1e-10
            assert set(copied.prepare(weights)) == set(module.state_dict())
    assert isinstance(module, DeployedModule) and not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    paths = {
        path for path, leaf in plain.named_modules() if isinstance(leaf, (torch.nn.Conv2d, torch.nn.Linear))
    }
    kept = {
        path for path, leaf in module.named_modules() if isinstance(leaf, (torch.nn.Conv2d, torch.nn.Linear))
    }
    assert kept == paths


def test_weights_that_do_not_fit_are_refused() -> None:
    graph = made(chain(conv(), NORM), *IMAGE)
    module = to_deployed(program(graph), seed=0)
    with pytest.raises(BindError, match="missing"):
        module.prepare({"conv0.weight": torch.zeros(6, 4, 3, 3)})


def test_initial_weights_are_those_of_the_plan() -> None:
    source = program(made(chain(conv(), NORM), *IMAGE))
    plain, module = to_torch(source, seed=3).eval(), to_deployed(source, seed=3)
    image = torch.randn(IMAGE)
    with torch.no_grad():
        assert difference(plain(image), module(image)) < 1e-5


def test_layouts() -> None:
    source = program(made(chain(conv(), NORM), *IMAGE))
    for wanted in (True, False):
        weight = to_deployed(source, channels_last=wanted).get_submodule("conv0").weight
        assert isinstance(weight, torch.Tensor)
        assert weight.is_contiguous(memory_format=torch.channels_last) is wanted


def test_group_norm_behind_a_convolution_is_as_accurate_as_torch() -> None:
    text = """planform 1
model net(x: [2, 8, 16, 16]) {
    return x -> conv: conv(8, 1) -> norm: group_norm(2)
}
plan main = net()
"""
    source = planform.PlanFile.from_text(text, "norm.plan").program("main")
    weights = to_torch(source).state_dict()
    weights["conv.weight"] = torch.eye(8).reshape(8, 8, 1, 1)
    weights["norm.weight"], weights["norm.bias"] = torch.ones(8), torch.zeros(8)
    image = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0)) + 100
    right = torch.nn.functional.group_norm(image.double(), 2)
    with torch.no_grad():
        assert (to_deployed(source, weights)(image) - right).abs().max() < 5e-5


# --- the command ---


def test_the_command_shows_lines_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    from planform.cli.app import run

    assert run(["deploy", "repvgg_a0"]) == 0
    said = capsys.readouterr().out
    assert "operators  168 become 46" in said
    assert "merge parallel branches x17" in said and "repvgg.plan:" in said
    assert run(["deploy", "densenet121"]) == 0
    assert "it stands between concat and relu" in capsys.readouterr().out


def test_the_command_writes_json(capsys: pytest.CaptureFixture[str]) -> None:
    from planform.cli.app import run

    assert run(["deploy", "convnext_tiny", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["operators"] > found["deployed"]
    assert all(change["lines"] and change["rule"] for change in found["merged"])
    assert all(refusal["lines"] and refusal["reason"] for refusal in found["refused"])
    assert found["weights"]["head.fc.weight"] == [1000, 768]
