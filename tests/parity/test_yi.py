"""Yi against the equations of its parts, written with complex numbers and repeated heads; prefill against decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import planform
from planform.api.model import Model
from planform.backends.torch.emit import emit_source
from planform.compiler.sizes.dims import evaluate
from support.parity import assert_parity, close, leaves

FILE = Path(__file__).parents[2] / "examples/transformers/yi.plan"
SMALL: dict[str, Any] = {"dim": 32, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 40, "vocabulary": 50}
THETA = 5e6


class Block(nn.Module):
    """A layer of LLaMA's form; rotations multiply pairs of features, taken as complex numbers."""

    def __init__(self, dim: int, heads: int, groups: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.groups, self.width = heads, groups, dim // heads
        self.input_layernorm = nn.RMSNorm(dim, eps=1e-5)
        self.post_attention_layernorm = nn.RMSNorm(dim, eps=1e-5)
        self.self_attn = nn.ModuleDict(
            {
                f"{name}_proj": nn.Linear(dim, width * self.width, bias=False)
                for name, width in (("q", heads), ("k", groups), ("v", groups), ("o", heads))
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(dim, hidden, bias=False),
                "up_proj": nn.Linear(dim, hidden, bias=False),
                "down_proj": nn.Linear(hidden, dim, bias=False),
            }
        )

    def rotated(self, x: Tensor) -> Tensor:
        half = self.width // 2
        position = torch.arange(x.shape[1], dtype=x.dtype)
        frequency = torch.tensor([THETA ** (-2 * pair / self.width) for pair in range(half)], dtype=x.dtype)
        turn = torch.polar(torch.ones(x.shape[1], half, dtype=x.dtype), torch.outer(position, frequency))
        pairs = torch.complex(x[..., :half], x[..., half:]) * turn[:, None]
        return torch.cat([pairs.real, pairs.imag], -1)

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        def heads(name: str) -> Tensor:
            return self.self_attn[f"{name}_proj"](x).unflatten(-1, (-1, self.width))

        q, k, v = self.rotated(heads("q")), self.rotated(heads("k")), heads("v")
        found: list[Tensor] = []
        for head in range(self.heads):
            group = head // (self.heads // self.groups)
            scores = torch.einsum("bie,bje->bij", q[:, :, head], k[:, :, group]) / self.width**0.5
            future = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
            weights = scores.masked_fill(future, -torch.inf).softmax(-1)
            found.append(weights @ v[:, :, group])
        return self.self_attn["o_proj"](torch.cat(found, -1)), torch.stack([k, v]).transpose(2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, cache = self.attention(self.input_layernorm(x))
        x = x + y
        y = self.post_attention_layernorm(x)
        y = self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](y)) * self.mlp["up_proj"](y))
        return x + y, cache


class Llama(nn.Module):
    """Logits of each position, keys and values of each layer."""

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        kv_heads: int,
        hidden: int,
        vocabulary: int,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocabulary, dim)
        self.model.layers = nn.ModuleList(Block(dim, heads, kv_heads, hidden) for _ in range(depth))
        self.model.norm = nn.RMSNorm(dim, eps=1e-5)
        self.lm_head = None if tied else nn.Linear(dim, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        x = self.model.embed_tokens(tokens)
        caches: list[Tensor] = []
        for layer in self.model.layers:
            x, cache = layer(x)
            caches.append(cache)
        x = self.model.norm(x)
        logits = x @ self.model.embed_tokens.weight.T if self.lm_head is None else self.lm_head(x)
        return {"logits": logits, "cache": torch.stack(caches)}


def load(plan: str, **parameters: Any) -> Model:
    return planform.load(FILE, plan=plan, **{**SMALL, **parameters})


def texts(batch: int, length: int) -> Tensor:
    return torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tied", [False, True])
def test_yi_is_what_its_equations_say(tied: bool) -> None:
    assert_parity(load("yi_6b", tied=tied), Llama(**SMALL, tied=tied), [texts(2, 9)])


def decoder(weights: dict[str, Tensor]) -> nn.Module:
    ours = load("yi_6b_decode").at(L=2, G=2, E=8).to_torch(dtype=torch.float64).eval()
    ours.load_state_dict(weights)
    return ours


@torch.no_grad()
def test_token_by_token_equals_all_at_once() -> None:
    """From an empty cache, from that of a prefill, and several tokens in one step."""
    whole = load("yi_6b").to_torch(dtype=torch.float64, seed=3).eval()
    step = decoder(whole.state_dict())
    tokens = texts(2, 7)
    wanted = whole(tokens)
    empty = torch.zeros(2, 2, 2, 2, 0, 8, dtype=torch.float64)
    for start, sizes in ((0, [1] * 7), (4, [1, 1, 1]), (2, [3, 2]), (0, [7])):
        cache = whole(tokens[:, :start])["cache"] if start else empty
        at, found = start, []
        for size in sizes:
            result = step(tokens[:, at : at + size], cache)
            cache, at = result["cache"], at + size
            found.append(result["logits"])
        close(torch.cat(found, 1), wanted["logits"][:, start:], f"logits from {start}", 1e-10)
        close(cache, wanted["cache"], "the cache", 1e-10)


def test_cost_is_a_formula_of_the_length() -> None:
    """Matrices once a token, scores and their use once a pair; against the count at any length."""
    prefill, decode = load("yi_6b"), load("yi_6b_decode").at(L=2, G=2, E=8)
    matrices = 2 * (32 * (32 + 16 + 16 + 32) + 3 * 32 * 40) + 32 * 50
    for length in (1, 5, 64):
        assert prefill.cost(B=1, T=length).sums.macs == matrices * length + 2 * 2 * 32 * length**2
        for past in (0, 11):
            wanted = matrices * length + 2 * 2 * 32 * length * (past + length)
            assert decode.cost(B=1, T=length, P=past).sums.macs == wanted
    formula = prefill.cost(B=1).sums.macs
    assert evaluate(formula, {"T": 64}) == prefill.cost(B=1, T=64).sums.macs


def test_emitted_source_is_the_same_network() -> None:
    """The test of all examples leaves Yi out for its size."""
    ours = load("yi_6b").to_torch(seed=3).eval()
    names: dict[str, Any] = {}
    exec(compile(emit_source(load("yi_6b").program), "emitted", "exec"), names)
    theirs = names["Yi6b"]().eval()
    theirs.load_state_dict(ours.state_dict())
    tokens = texts(2, 6)
    for left, right in zip(leaves(theirs(tokens)), leaves(ours(tokens)), strict=True):
        close(left, right, "emitted", 1e-6)
