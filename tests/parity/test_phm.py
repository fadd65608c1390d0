"""Parameterised hypercomplex layers against torch.kron, Hamilton's product, and a ResNet put together from torch.nn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planform
from support.parity import assert_initialised_alike, assert_parity, assert_same

FILE = Path(__file__).parents[2] / "examples/operators/phm.plan"


def noise(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


class HyperLinear(nn.Module):
    """A linear map by a sum of Kronecker products."""

    def __init__(self, features: int, out: int, n: int) -> None:
        super().__init__()
        self.a = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, n, n)))
        self.s = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, out // n, features // n)))
        self.bias = nn.Parameter(torch.empty(out).uniform_(-(features**-0.5), features**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        weight = sum(torch.kron(a, s) for a, s in zip(self.a, self.s, strict=True))
        return x @ torch.as_tensor(weight).T + self.bias


class HyperConv(nn.Module):
    """A convolution with such a sum at each tap of its kernel."""

    def __init__(self, channels: int, out: int, k: int, n: int, stride: int = 1) -> None:
        super().__init__()
        self.A = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, n, n)))
        self.F = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, out // n, channels // n, k, k)))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        k = self.F.shape[-1]
        taps = [
            torch.stack([torch.kron(a, f[..., i, j]) for a, f in zip(self.A, self.F, strict=True)]).sum(0)
            for i in range(k)
            for j in range(k)
        ]
        weight = torch.stack(taps, dim=-1).unflatten(-1, (k, k))
        return nn.functional.conv2d(x, weight, stride=self.stride, padding=k // 2)


class Basic(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int, width: int, n: int, stride: int) -> None:
        super().__init__()
        self.conv1 = HyperConv(channels, width, 3, n, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = HyperConv(width, width, 3, n)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(HyperConv(channels, width, 1, n, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.shortcut(x)).relu()


class ResNet(nn.Module):
    """Four stages of two blocks."""

    def __init__(self, channels: int, widths: list[int], n: int) -> None:
        super().__init__()
        self.conv1 = HyperConv(channels, widths[0], 3, n)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for i, width in enumerate(widths):
            first = Basic(before, width, n, 2 if i > 0 else 1)
            self.add_module(f"layer{i + 1}", nn.Sequential(first, Basic(width, width, n, 1)))
            before = width
        self.linear = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.linear(x.mean((2, 3)))


class Perceptron(nn.Module):
    """Two hidden layers."""

    def __init__(self, features: int, n: int) -> None:
        super().__init__()
        self.fc1 = HyperLinear(features, 256, n)
        self.fc2 = HyperLinear(256, 256, n)
        self.fc3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.fc2(self.fc1(x).relu()).relu())


def ours(name: str, **parameters: Any) -> planform.Model:
    return planform.load(FILE, plan=name, **parameters)


@pytest.mark.parametrize(("n", "channels"), [(2, 4), (3, 3), (4, 4)])
def test_resnet_is_torchs_layers_in_order(n: int, channels: int) -> None:
    widths = [12, 24, 36, 48]
    model = ours(f"ph_resnet18_n{n}", widths=widths)
    assert_parity(model, ResNet(channels, widths, n), [noise(2, channels, 17, 16)])


def test_starts_as_the_authors() -> None:
    widths = [32, 64, 64, 64]
    assert_initialised_alike(ours("ph_resnet18_n4", widths=widths), lambda: ResNet(4, widths, 4))


def test_perceptron_is_torchs_layers_in_order() -> None:
    assert_parity(ours("phm_mlp_n4"), Perceptron(784, 4), [noise(3, 784)])
    assert_initialised_alike(ours("phm_mlp_n4"), lambda: Perceptron(784, 4))


def test_with_hamiltons_rules_it_multiplies_quaternions(tmp_path: Path) -> None:
    """Three quaternions from two, whose real components stand first and those of k last."""
    (tmp_path / FILE.name).write_text(FILE.read_text())
    (tmp_path / "quaternions.plan").write_text(
        """planform 1
        use "phm.plan" (phm_linear)
        model product(x: [B, 8]) { return x -> fc: phm_linear(12, 4, bias=false) }
        plan quaternions = product()
        """
    )
    module = planform.load(tmp_path / "quaternions.plan").to_torch(dtype=torch.float64, seed=1)
    rules = torch.zeros(4, 4, 4, dtype=torch.float64)  # [left factor, product, right factor]
    for left, right, product, sign in [
        *[(0, unit, unit, 1) for unit in range(4)],
        *[(unit, 0, unit, 1) for unit in range(1, 4)],
        *[(unit, unit, 0, -1) for unit in range(1, 4)],
        *[(1, 2, 3, 1), (2, 3, 1, 1), (3, 1, 2, 1), (2, 1, 3, -1), (3, 2, 1, -1), (1, 3, 2, -1)],
    ]:
        rules[left, product, right] = sign
    weights = module.state_dict()
    weights["fc.a"].copy_(rules)
    x = noise(5, 8)
    (a, b, c, d), (e, f, g, h) = weights["fc.s"], x.unflatten(1, (4, 2)).unbind(1)
    # (a + bi + cj + dk)(e + fi + gj + hk)
    wanted = [
        e @ a.T - f @ b.T - g @ c.T - h @ d.T,
        f @ a.T + e @ b.T + h @ c.T - g @ d.T,
        g @ a.T - h @ b.T + e @ c.T + f @ d.T,
        h @ a.T + g @ b.T - f @ c.T + e @ d.T,
    ]
    with torch.no_grad():
        assert_same(module(x), torch.cat(wanted, dim=1), "product")


def test_features_that_do_not_divide_are_refused() -> None:
    with pytest.raises(planform.PlanError, match="784 and 10 features do not divide into 4 components"):
        _ = ours("phm_mlp_n4", hidden=10).program
    with pytest.raises(planform.PlanError, match="4 and 66 channels do not divide into 4 components"):
        _ = ours("ph_resnet18_n4", widths=[66, 128, 256, 512]).program


@pytest.mark.slow
@pytest.mark.parametrize(("n", "channels"), [(2, 4), (3, 3), (4, 4)])
def test_whole_network(n: int, channels: int) -> None:
    widths = [60, 120, 240, 516] if n == 3 else [64, 128, 256, 512]
    assert_parity(ours(f"ph_resnet18_n{n}"), ResNet(channels, widths, n), [noise(2, channels, 32, 32)])
