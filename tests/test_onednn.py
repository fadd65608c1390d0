"""Deployed convolutions and linear maps by oneDNN, against torch's ordinary operators."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import planform
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.torch.onednn import PackedConv2d, PackedLinear, available

pytestmark = pytest.mark.skipif(not available(), reason="this torch has no oneDNN")

ACTIVATIONS = {
    "relu()": F.relu,
    "relu6()": F.relu6,
    "leaky_relu(0.2)": lambda x: F.leaky_relu(x, 0.2),
    "gelu()": F.gelu,
    'gelu(approximate="tanh")': lambda x: F.gelu(x, approximate="tanh"),
    "silu()": F.silu,
    "hard_swish()": F.hardswish,
    "hard_sigmoid()": F.hardsigmoid,
    "sigmoid()": torch.sigmoid,
    "tanh()": torch.tanh,
    "softplus()": F.softplus,  # oneDNN's operators lack it: it stays by itself
}
TEXT = """planform 1
model net(x: [B, 6, H, W]) -> tensor {{
    return x -> conv: conv(8, 3, pad=1, stride=2, groups=2, bias=true) -> {0} -> rearrange("b c h w -> b h w c")
             -> fc: linear(5) -> {0}
}}
plan main = net()
"""


def network(activation: str) -> Any:
    return Model(PlanFile.from_text(TEXT.format(activation)), "main", {}).to_torch(mode="deploy", seed=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_agree_with_torch(activation: str) -> None:
    module, function = network(activation), ACTIVATIONS[activation]
    assert isinstance(module.conv, PackedConv2d)
    assert isinstance(module.fc, PackedLinear)
    conv, fc = nn.Conv2d(6, 8, 3, 2, 1, groups=2).double(), nn.Linear(8, 5).double()
    conv.load_state_dict(module.conv.state_dict())
    fc.load_state_dict(module.fc.state_dict())
    # The second size is another than the one that the weights were packed for.
    for batch, size in ((2, 16), (1, 9), (3, 40)):
        x = 3 * torch.randn(batch, 6, size, size)
        wanted = function(fc(function(conv(x.double())).permute(0, 2, 3, 1)))
        assert torch.allclose(module(x).double(), wanted, rtol=1e-4, atol=1e-5)
    left = [node.op for node in module.graphs["eval"].graph.nodes if "softplus" in str(node.target)]
    assert len(left) == (2 if activation == "softplus()" else 0)


def test_gradients_and_other_types_take_the_ordinary_way() -> None:
    module = network("gelu()")
    x = torch.randn(2, 6, 12, 12)
    expected = module(x)
    inner = x.clone().requires_grad_()
    result = module(inner)
    result.sum().backward()
    assert inner.grad is not None
    assert torch.allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert torch.allclose(copy.deepcopy(module).double()(x.double()).float(), expected, rtol=1e-4, atol=1e-5)
    exported = torch.export.export(module, (x,))
    assert torch.allclose(exported.module()(x), expected, rtol=1e-4, atol=1e-5)


def test_new_weights_are_packed_anew() -> None:
    module, other = network("relu()"), network("relu()")
    x = torch.randn(2, 6, 12, 12)
    before = module(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    module.load_state_dict(other.state_dict())
    assert torch.allclose(module(x), other(x), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(module(x), before)


def test_copies_are_packed_too_and_save_nothing_more() -> None:
    module = network("silu()")
    x = torch.randn(2, 6, 12, 12)
    expected = module(x)
    for made in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert isinstance(made.conv, PackedConv2d)
        assert not [node for node in made.graphs["eval"].graph.nodes if "silu" in str(node.target)]
        assert torch.equal(made(x), expected)
        assert "_packed" in vars(made.conv)
    assert sorted(module.state_dict()) == ["conv.bias", "conv.weight", "fc.bias", "fc.weight"]


def test_a_result_read_twice_keeps_its_activation() -> None:
    text = """planform 1
model net(x: [B, 6]) -> tensor {
    y = x -> fc: linear(6)
    return y + relu(y)
}
plan main = net()
"""
    module = Model(PlanFile.from_text(text), "main", {}).to_torch(mode="deploy", seed=0)
    x = torch.randn(4, 6)
    y = F.linear(x, module.fc.weight, module.fc.bias)
    assert torch.allclose(module(x), y + F.relu(y), rtol=1e-5, atol=1e-6)


def test_a_residual_network_agrees() -> None:
    model = planform.load("resnet18")
    plain = model.to_torch(seed=0).eval()
    fast = model.to_torch(mode="deploy", state_dict=plain.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(fast(x), plain(x), rtol=1e-3, atol=1e-4)
