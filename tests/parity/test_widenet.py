"""WideNet against its equations; what routing leaves idle; more choices than experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import planform
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from support.parity import assert_parity, images

FILE = Path(__file__).parents[2] / "examples/transformers/widenet.plan"
SMALL: dict[str, Any] = {"dim": 24, "depth": 3, "heads": 3, "hidden": 20, "classes": 5}


class Experts(nn.Module):
    """Each token by itself asks the experts that it prefers."""

    def __init__(self, dim: int, hidden: int, count: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.router = nn.Linear(dim, count, bias=False)
        self.fc1, self.fc2 = nn.Module(), nn.Module()
        for layer, out, features in ((self.fc1, hidden, dim), (self.fc2, dim, hidden)):
            layer.weight = nn.Parameter(torch.empty(count, out, features))
            layer.bias = nn.Parameter(torch.empty(count, out))

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for token in x.flatten(0, 1):
            weights = self.router(token).softmax(0)
            best = weights.argsort(descending=True)[: self.k].tolist()
            found.append(sum((weights[e] * self.answer(e, token) for e in best), torch.zeros_like(token)))
        return torch.stack(found).reshape(x.shape)

    def answer(self, expert: int, token: Tensor) -> Tensor:
        inner = F.gelu(self.fc1.weight[expert] @ token + self.fc1.bias[expert])
        return self.fc2.weight[expert] @ inner + self.fc2.bias[expert]


class Reference(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.heads = heads
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 16, 16)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 5, dim))
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.moe = Experts(dim, hidden, 4, 2)
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for _ in range(2)) for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, classes)

    def attention(self, x: Tensor) -> Tensor:
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.attn["qkv"](x).chunk(3, -1)
        )
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return self.attn["proj"]((weights @ v).transpose(1, 2).flatten(2))

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed["proj"](image).flatten(2).mT
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for first, second in self.norms:
            x = x + self.attention(first(x))
            x = x + self.moe(second(x))
        return self.head(self.norm(x)[:, 0])


def small() -> Model:
    return planform.load(FILE, plan="widenet_base", **SMALL).at(H=32, W=32)


def test_widenet_is_what_its_equations_say() -> None:
    assert_parity(small(), Reference(**SMALL), [images(2, 32)])


def test_cost_is_active_and_total() -> None:
    """By hand: each of 5 tokens in 3 layers asks 2 of 4 experts, which are there once."""
    report = small().cost(B=1)
    matrices, biases = 2 * 24 * 20, 24 + 20
    assert report.params - report.active_params == 2 * (matrices + biases)
    assert report.total_macs - report.macs() == 3 * 5 * 2 * matrices
    formula = planform.load(FILE, plan="widenet_base", **SMALL).cost().total_macs
    assert "B" in str(formula)


def test_without_experts_all_is_active() -> None:
    text = "planform 1\nmodel net(x: [B, 4]) { return x -> fc: linear(5) }\nplan p = net()\n"
    report = Model(PlanFile.from_text(text), "p", {}).cost(B=2)
    assert report.active_params == report.params == 25
    assert report.total_macs == report.macs() == 40


ROUTE = """planform 1
model net(x: [B, N, 6]) {{
    weight, chosen = x -> router: linear(4) -> top_k({k})
    y = (x -> unsqueeze(2) -> expand([B, N, {k}, 6]), chosen) -> fc: expert_linear({experts}, 3)
    return einsum(y, weight, "b n k d, b n k -> b n d")
}}
plan p = net()
"""


def messages(k: int, experts: int) -> list[str]:
    return [d.message for d in PlanFile.from_text(ROUTE.format(k=k, experts=experts)).check().diagnostics]


def test_more_choices_than_experts() -> None:
    assert messages(2, 4) == []
    (found,) = messages(5, 4)
    assert "axis 2, of which top_k takes `k`, is 4, and must be at least 5" in found
    (found,) = messages(3, 2)
    assert "the number of experts, each chosen once, is 2, and must be at least 3" in found
    text = FILE.read_text(encoding="utf-8").partition("\nclaim ")[0]
    broken = text + "\nplan p = widenet(24, 1, heads=3, hidden=20, k=5) at (H=32, W=32)\n"
    found = [d.message for d in PlanFile.from_text(broken).check().diagnostics]
    assert any("5 experts cannot be chosen of 4" in message for message in found)
