"""The torch module that a program becomes, against torch itself and what torch's tools expect."""

from __future__ import annotations

import copy
import io
import os
import pickle
import socket
from typing import Any, ClassVar

import pytest
import torch
import torch.multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from planform.backends.torch import InputError, LoweringError, PlanModule, to_torch
from planform.backends.torch.leaves import Scope
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Tree, Value
from planform.compiler.graph.program import Program
from planform.compiler.ops import Op, registry
from planform.compiler.ops.core.init import (
    constant,
    kaiming_normal,
    ones,
    orthogonal,
    trunc_normal,
    uniform,
    xavier_uniform,
)
from planform.compiler.ops.linear import LinearWith
from planform.compiler.ops.norm import BatchNormWith
from planform.compiler.sizes.dims import symbol
from planform.compiler.types import TensorType
from support.opcases import Application
from support.programs import ModeNet, operator_cases, operator_program, program

B, H, W, N = symbol("B"), symbol("H"), symbol("W"), symbol("N")
DYNAMIC = torch.export.Dim.DYNAMIC


def residual(net: ModeNet, x: Value, channels: int, stride: int) -> Value:
    y = net.call("conv", x, label="conv1", out=channels, kernel=3, stride=stride, pad=1)
    y = net.call("maximum", net.call("batch_norm", y, label="bn1"), scalar=0.0)
    y = net.call("conv", y, label="conv2", out=channels, kernel=3, pad=1)
    y = net.call("batch_norm", y, label="bn2")
    if stride != 1 or x.shape[1] != channels:
        x = net.call("conv", x, label="downsample.0", out=channels, kernel=1, stride=stride)
        x = net.call("batch_norm", x, label="downsample.1")
    return net.call("maximum", net.call("add", y, x), scalar=0.0)


def draw_resnet(net: ModeNet) -> Tree:
    x = net.input("image", B, 3, H, W)
    x = net.call("conv", x, label="conv1", out=8, kernel=7, stride=2, pad=3)
    x = net.call("maximum", net.call("batch_norm", x, label="bn1"), scalar=0.0)
    x = net.call("max_pool", x, kernel=3, stride=2, pad=1)
    for i in range(2):
        for j in range(2):
            with net.block("residual", f"layer{i + 1}.{j}"):
                x = residual(net, x, 8 * 2**i, 2 if i > 0 and j == 0 else 1)
    return net.call("linear", net.call("global_avg_pool", x), label="fc", out=10)


class Residual(nn.Module):
    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = nn.Sequential()
        if stride != 1 or before != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.downsample(x)).relu()


class Resnet(nn.Module):
    """The same network as a person writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Residual(8, 8, 1), Residual(8, 8, 1))
        self.layer2 = nn.Sequential(Residual(8, 16, 2), Residual(16, 16, 1))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def resnet_program() -> Program:
    return program("tiny_resnet", draw_resnet)


@pytest.fixture
def resnet(resnet_program: Program) -> PlanModule:
    return to_torch(resnet_program, seed=0)


def test_a_resnet_is_what_torch_computes(resnet: PlanModule) -> None:
    theirs = Resnet()
    assert list(resnet.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(resnet.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for mode in (True, False):
        resnet.train(mode), theirs.train(mode)
        torch.testing.assert_close(resnet(x), theirs(x), rtol=1e-5, atol=1e-5)
    for (name, ours), value in zip(resnet.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, value, msg=name)
    assert resnet.bn1.num_batches_tracked == 1


def test_gradients_are_torchs(resnet: PlanModule) -> None:
    theirs = Resnet()
    theirs.load_state_dict(resnet.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for module in (resnet, theirs):
        module(x).square().sum().backward()
    for (name, ours), value in zip(resnet.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, value.grad, rtol=1e-4, atol=1e-4, msg=name)


def test_leaves_are_torchs_own_modules(resnet: PlanModule) -> None:
    assert isinstance(resnet.get_submodule("layer2.0.conv1"), nn.Conv2d)
    assert isinstance(resnet.get_submodule("layer2.0.downsample.1"), nn.BatchNorm2d)
    assert isinstance(resnet.fc, nn.Linear)
    seen: list[tuple[int, ...]] = []
    handle = resnet.get_submodule("layer1.1.conv2").register_forward_hook(
        lambda *call: seen.append(call[2].shape)
    )
    resnet.eval()(torch.randn(1, 3, 32, 32))
    handle.remove()
    assert seen == [(1, 8, 8, 8)]


def test_the_code_reads_well(resnet: PlanModule) -> None:
    code = resnet.graphs["eval"].code
    assert "def forward(self, image):" in code
    assert 'layer1_0_conv1 = getattr(self.layer1, "0").conv1(max_pool)' in code
    assert "fc = self.fc(global_avg_pool)" in code


def test_copies_are_whole_and_apart(resnet: PlanModule) -> None:
    resnet.eval()
    x = torch.randn(2, 3, 32, 32)
    wanted = resnet(x)
    saved = io.BytesIO()
    torch.save(resnet, saved)
    saved.seek(0)
    copies = copy.deepcopy(resnet), pickle.loads(pickle.dumps(resnet)), torch.load(saved, weights_only=False)
    for other in copies:
        assert list(other.state_dict()) == list(resnet.state_dict())
        assert torch.equal(other(x), wanted)
        with torch.no_grad():
            other.fc.bias += 1
        torch.testing.assert_close(other.graphs["eval"](x), wanted + 1)
        assert torch.equal(resnet(x), wanted)


def test_state_dict_round_trip(resnet_program: Program, resnet: PlanModule) -> None:
    other = to_torch(resnet_program, seed=1)
    assert not torch.equal(other.conv1.weight, resnet.conv1.weight)
    other.load_state_dict(resnet.state_dict(), strict=True)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(other.eval()(x), resnet.eval()(x))
    assert torch.equal(to_torch(resnet_program, seed=0).conv1.weight, resnet.conv1.weight)


def test_graphs_see_changes_of_the_module(resnet: PlanModule) -> None:
    resnet.eval().double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert torch.equal(resnet.graphs["eval"](x), resnet(x))
    torch.nn.utils.parametrizations.weight_norm(resnet.get_submodule("layer1.0.conv1"))
    resnet.get_submodule("layer1.0.conv1").parametrizations.weight.original0.data.zero_()
    assert torch.equal(resnet.graphs["eval"](x), resnet(x))
    resnet.fc = nn.Identity()
    assert resnet(x).shape == (2, 16)


def test_dead_code_removal_keeps_guards_and_state(resnet: PlanModule) -> None:
    def draw(net: ModeNet) -> Tree:
        x = net.input("x", B, 4)
        net.call("batch_norm", x, label="unused")
        functional = [net.param(f"n.{name}", 4, init=ones(), kind="buffer") for name in ("mean", "var")]
        count = net.param("n.count", kind="buffer", dtype="i64", init=constant(0))
        slots = ("x", "running_mean", "running_var", "num_batches_tracked")
        net.builder.add(BatchNormWith(), (x, *functional, count), slots, "n")
        return net.call("add", x, x)

    module = to_torch(program("effects", draw))
    for graph in module.graphs.values():
        graph.graph.eliminate_dead_code()
        graph.graph.lint()
        graph.recompile()
    x = torch.randn(8, 4) + 3
    assert torch.equal(module(x), 2 * x)
    torch.testing.assert_close(module.unused.running_mean, 0.1 * x.mean(0))
    torch.testing.assert_close(module.n.mean, 0.9 + 0.1 * x.mean(0))
    assert module.n.count == 1 and module.unused.num_batches_tracked == 1
    with pytest.raises(InputError):
        module(torch.randn(8, 5))


@pytest.mark.parametrize("training", [True, False])
def test_compile_in_one_graph(resnet: PlanModule, training: bool) -> None:
    resnet.train(training)
    other = copy.deepcopy(resnet)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((2, 3, 32, 32), (3, 3, 40, 48), (4, 3, 33, 35)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), resnet(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.state_dict(), resnet.state_dict())


@pytest.mark.parametrize("strict", [True, False])
def test_export_with_free_sizes(resnet: PlanModule, strict: bool) -> None:
    resnet.eval()
    shapes = {"image": {0: DYNAMIC, 2: DYNAMIC, 3: DYNAMIC}}
    exported = torch.export.export(resnet, (torch.randn(2, 3, 64, 64),), dynamic_shapes=shapes, strict=strict)
    x = torch.randn(3, 3, 40, 72)
    torch.testing.assert_close(exported.module()(x), resnet(x))


def test_tracers_and_autocast(resnet: PlanModule) -> None:
    resnet.eval()
    x = torch.randn(2, 3, 32, 32)
    wanted = resnet(x)
    torch.testing.assert_close(torch.fx.symbolic_trace(resnet)(x), wanted)
    torch.testing.assert_close(torch.jit.trace(resnet, x)(x), wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = resnet(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), wanted, rtol=0.1, atol=0.1)
    state = {name: tensor + 0 for name, tensor in resnet.state_dict().items()}
    assert torch.equal(torch.func.functional_call(resnet, state, (x,)), wanted)


def _train_in_parallel(rank: int, port: int, pickled: bytes, results: Any) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    parallel = DistributedDataParallel(pickle.loads(pickled))
    torch.manual_seed(rank)
    parallel(torch.randn(2, 3, 32, 32)).square().sum().backward()
    results[rank] = parallel.module.conv1.weight.grad
    torch.distributed.destroy_process_group()


def test_two_processes_train_together(resnet: PlanModule) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with torch.multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(_train_in_parallel, (port, pickle.dumps(resnet), results), nprocs=2)
        first, second = results[0], results[1]
    assert torch.equal(first, second)
    expected = []
    for rank in range(2):
        alone = copy.deepcopy(resnet)
        torch.manual_seed(rank)
        alone(torch.randn(2, 3, 32, 32)).square().sum().backward()
        expected.append(alone.conv1.weight.grad)
    torch.testing.assert_close(first, (expected[0] + expected[1]) / 2, rtol=1e-4, atol=1e-5)


# --- guards ---


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            [(2, 4, 64, 64)],
            "net: image has shape [2, 4, 64, 64], and must be [B, 3, 32*H, W]: axis 1 is 4, not 3",
        ),
        ([(2, 3, 64)], "net: image has shape [2, 3, 64], and must be [B, 3, 32*H, W]: it has 3 axes, not 4"),
        (
            [(2, 3, 65, 64)],
            "net: image has shape [2, 3, 65, 64], and must be [B, 3, 32*H, W]: "
            "axis 2 is 65, which is not a multiple of 32",
        ),
        (
            [(0, 3, 64, 64)],
            "net: image has shape [0, 3, 64, 64], and must be [B, 3, 32*H, W]: "
            "axis 0 is 0, and must be at least 1",
        ),
        (
            [(2, 3, 64, 64), (3, 2)],
            "net: y has shape [3, 2], and must be [B, H]: axis 0 is 3, not 2, by axis 0 of image",
        ),
        ([None, (2, 2)], "net: image is NoneType, and must be a tensor [B, 3, 32*H, W]"),
        (
            [(2, 3, 64, 64), (2, 2), (5,)],
            "net: z has shape [5], and must be [H*W]: axis 0 is 5, not 128 (H = 2, W = 64)",
        ),
    ],
)
def test_guards_speak_of_the_plan(inputs: list[tuple[int, ...]], message: str) -> None:
    def draw(net: ModeNet) -> Tree:
        image = net.input("image", B, 3, 32 * H, W)
        return net.call("add", image, image), net.input("y", B, H), net.input("z", H * W)

    module = to_torch(program("net", draw))
    given = [None if shape is None else torch.randn(shape) for shape in inputs]
    given += [torch.randn(2, 2), torch.randn(128)][len(given) - 1 :]
    with pytest.raises(InputError) as caught:
        module(*given)
    assert str(caught.value) == message


def test_undecided_constraints_are_checked_when_run() -> None:
    def draw(net: ModeNet) -> Tree:
        return net.call("add", net.input("x", B, H), net.input("y", B, W))

    module = to_torch(program("net", draw))
    assert module(torch.ones(2, 3), torch.ones(2, 3)).shape == (2, 3)
    with pytest.raises(InputError, match=r"net: .*H must equal W, and here H = 3, W = 4|W must equal H"):
        module(torch.ones(2, 3), torch.ones(2, 4))


def test_types_of_inputs() -> None:
    def draw(net: ModeNet) -> Tree:
        return net.input("tokens", B, dtype="i64")

    module = to_torch(program("net", draw))
    with pytest.raises(InputError, match="net: tokens holds float32, and must hold i64"):
        module(torch.ones(2))


# --- weights ---


def test_initialisers() -> None:
    rows, columns = 200, 300
    inits = {
        "constant": constant(2.5),
        "uniform": uniform(1.0, 3.0),
        "trunc_normal": trunc_normal(std=0.5, low=-0.7, high=0.7),
        "kaiming": kaiming_normal(mode="fan_out", nonlinearity="relu"),
        "xavier": xavier_uniform(),
        "orthogonal": orthogonal(),
    }

    def draw(net: ModeNet) -> Tree:
        return {name: net.param(name, rows, columns, init=init) for name, init in inits.items()}

    made = to_torch(program("weights", draw), seed=3)()
    assert (made["constant"] == 2.5).all()
    assert made["uniform"].min() >= 1 and made["uniform"].max() < 3 and abs(made["uniform"].mean() - 2) < 0.02
    assert made["trunc_normal"].abs().max() <= 0.7
    assert abs(made["kaiming"].std() / (2 / rows) ** 0.5 - 1) < 0.02
    assert abs(made["xavier"].abs().max() / (6 / (rows + columns)) ** 0.5 - 1) < 0.01
    torch.testing.assert_close(made["orthogonal"] @ made["orthogonal"].T, torch.eye(rows), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_float_is_bound_when_built(resnet_program: Program, dtype: torch.dtype) -> None:
    module = to_torch(resnet_program, dtype=dtype).eval()
    assert module.conv1.weight.dtype == module.bn1.running_mean.dtype == dtype
    assert module.bn1.num_batches_tracked.dtype == torch.int64
    assert module(torch.randn(2, 3, 32, 32, dtype=dtype)).dtype == dtype


def test_linear_defaults_are_torchs() -> None:
    def draw(net: ModeNet) -> Tree:
        return net.call("linear", net.input("x", B, 64), label="fc", out=128)

    torch.manual_seed(5)
    theirs = nn.Linear(64, 128)
    ours = to_torch(program("net", draw), seed=5).fc
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)


def test_kinds_of_weights_and_shared_ones() -> None:
    def draw(net: ModeNet) -> Tree:
        x = net.input("x", B, 4)
        x = net.call("linear", x, path="twice", out=4)
        x = net.call("linear", x, path="twice", out=4)
        frozen = net.param("table.frozen", 4, 4, trainable=False)
        scale = net.param("table.scale", 4, kind="buffer", init=ones(), persistent=False)
        x = net.builder.add(LinearWith(), (x, frozen), ("x", "weight"), "tied").results[0]
        return net.call("mul", x, scale)

    module = to_torch(program("net", draw))
    assert list(module.state_dict()) == ["twice.weight", "twice.bias", "table.frozen"]
    assert isinstance(module.twice, nn.Linear) and type(module.table) is Scope
    assert not module.table.frozen.requires_grad and module.table.scale.shape == (4,)
    x = torch.randn(3, 4)
    torch.testing.assert_close(module(x), module.twice(module.twice(x)) @ module.table.frozen.T)


def test_weights_read_by_unequal_calls_are_functional() -> None:
    def draw(net: ModeNet) -> Tree:
        x = net.call("linear", net.input("x", B, 4), label="fc", out=4)
        return net.call("mul", x, net.builder.weight_values["fc.weight"])

    module = to_torch(program("net", draw))
    assert type(module.fc) is Scope and isinstance(module.fc.weight, nn.Parameter)
    x = torch.randn(4, 4)
    torch.testing.assert_close(
        module(x), nn.functional.linear(x, module.fc.weight, module.fc.bias) * module.fc.weight
    )


def test_a_graph_may_initialise() -> None:
    def draw(net: ModeNet) -> Tree:
        return net.param("w", 2, 3, init=_ones_plus_ones())

    assert torch.equal(to_torch(program("net", draw))(), torch.full((2, 3), 2.0))


class Fill(Op):
    """A constant for tests: [*shape] of ones."""

    name: ClassVar[str] = "fill_for_tests"
    sizes: tuple[int, ...] = ()

    def shape(self) -> tuple[int, ...]:
        return self.sizes

    def dtype(self) -> str:
        return "float"

    def torch(self, t: Any) -> Any:
        return t.torch.ones(self.sizes, dtype=t.dtype("float"))


def _ones_plus_ones() -> Any:
    builder = Builder("start")
    one = builder.add(Fill(sizes=(2, 3)), (), ()).results[0]
    two = builder.add(registry()["add"](), (one, one), ("x", "y")).results[0]  # pyright: ignore
    return builder.freeze(two)


def test_constants_are_computed_once() -> None:
    def draw(net: ModeNet) -> Tree:
        x = net.input("x", B, 3)
        with net.block("masked", "stage"):
            one = net.builder.add(Fill(sizes=(2, 3)), (), ()).results[0]
            mask = net.call("select", net.call("add", one, one), index=0, axis=0)
            return net.call("add", x, mask)

    module = to_torch(program("net", draw))
    assert list(module.state_dict()) == []
    assert [name for name, _ in module.named_buffers()] == ["_stage_select"]
    for made in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(made(torch.zeros(2, 3)), torch.full((2, 3), 2.0))
        assert "ones" not in made.graphs["eval"].code


def test_results_keep_their_structure() -> None:
    def draw(net: ModeNet) -> Tree:
        x = net.input("x", B, 3)
        double = net.call("add", x, x)
        return {"pyramid": [x, double], "pair": (double, None), "count": 3}

    x = torch.randn(2, 3)
    out = to_torch(program("net", draw))(x)
    assert isinstance(out["pyramid"], list) and isinstance(out["pair"], tuple)
    assert torch.equal(out["pair"][0], 2 * x) and out["pair"][1] is None and out["count"] == 3


def test_modes_may_give_different_results() -> None:
    def draw(net: ModeNet) -> Tree:
        x = net.input("x", B, 3)
        y = net.call("linear", x, label="fc", out=2)
        return (y, net.call("linear", x, label="aux", out=2)) if net.mode == "train" else y

    module = to_torch(program("net", draw))
    assert list(module.state_dict()) == ["fc.weight", "fc.bias", "aux.weight", "aux.bias"]
    x = torch.randn(2, 3)
    both = module.train()(x)
    assert isinstance(both, tuple) and torch.equal(module.eval()(x), both[0])


def test_a_missing_lowering_is_named() -> None:
    class Strange(Op):
        """No lowering: [*s] -> [*s]."""

        name: ClassVar[str] = "strange"

        def shape(self, x: Any) -> Any:
            return x

    def draw(net: ModeNet) -> Tree:
        return net.builder.add(Strange(), (net.input("x", B),), ("x",), "odd.one").results[0]

    with pytest.raises(LoweringError, match=r"operator `strange` at odd\.one has no lowering to torch"):
        to_torch(program("net", draw))


def test_names_of_torch_are_refused() -> None:
    def draw(net: ModeNet) -> Tree:
        return net.call("linear", net.input("x", B, 2), label="forward", out=2)

    with pytest.raises(LoweringError, match="label `forward`"):
        to_torch(program("net", draw))


def test_bodies_are_inlined() -> None:
    class Twice(Op):
        """Run the body twice: [*s] -> [*s]."""

        name: ClassVar[str] = "twice"

        def shape(self, x: Any) -> Any:
            return x

        def torch(self, t: Any, x: Any) -> Any:
            (body,) = t.bodies
            return t.inline(body, t.inline(body, x))

    def draw(net: ModeNet) -> Tree:
        step = Builder("step")
        y = step.input("y", TensorType((2, 3)))
        total = step.add(registry()["add"](), (y, y), ("x", "y")).results[0]  # pyright: ignore
        body = step.freeze(total)
        return net.builder.add(Twice(), (net.input("x", 2, 3),), ("x",), bodies=(body,)).results[0]

    x = torch.randn(2, 3)
    assert torch.equal(to_torch(program("net", draw))(x), 4 * x)


# --- every operator ---


@pytest.mark.parametrize("case", operator_cases())
@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
def test_every_operator_can_be_traced(case: Application, free: bool) -> None:
    """What its lowering gives when traced, with fixed or run-time sizes, is what it gives on tensors."""
    made = operator_program(case, free)
    if made is None:
        return
    found_program, given, wanted = made
    found = to_torch(found_program).eval()(*given)
    torch.testing.assert_close(list(found) if isinstance(found, tuple) else [found], wanted, equal_nan=True)


def test_numbered_children_are_reached_by_index() -> None:
    import planform

    module = planform.load("resnet18").to_torch()
    assert module.layer1[0].conv1 is module.get_submodule("layer1.0.conv1")
    assert module.layer4[-1] is module.get_submodule("layer4.1") and len(module.layer2) == 2
    assert [type(child) for child in module.layer3] == [Scope, Scope]
    with pytest.raises(IndexError, match="no module 7 among 0, 1"):
        module.layer1[7]
