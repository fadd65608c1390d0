"""BiFormer against its algorithm, region by region; the released code gave the same results."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import planform
from planform.api.plan_file import PlanFile
from support.parity import assert_parity

FILE = Path(__file__).parents[2] / "examples/transformers/biformer.plan"


class Routing(nn.Module):
    """Algorithm 1 for each picture and region in turn."""

    def __init__(self, width: int, k: int, regions: int) -> None:
        super().__init__()
        self.k, self.regions, self.heads = k, regions, width // 32
        self.qkv = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width)})
        self.lepe = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.wo = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv["qkv"](x).chunk(3, -1)
        return self.wo(
            torch.stack([self.picture(*each) for each in zip(q, k, v, strict=True)]) + self.near(v)
        )

    def near(self, v: Tensor) -> Tensor:
        return self.lepe(v.movedim(3, 1)).movedim(1, 3)

    def picture(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        def cut(x: Tensor) -> list[Tensor]:
            rows = [strip.chunk(self.regions, 1) for strip in x.chunk(self.regions, 0)]
            return [region for row in rows for region in row]

        regions = list(zip(cut(q), cut(k), cut(v), strict=True))
        keys = torch.stack([key.mean((0, 1)) for _, key, _ in regions])
        found: list[Tensor] = []
        for query, _, _ in regions:
            chosen = (keys @ query.mean((0, 1))).argsort(descending=True)[: self.k].tolist()
            seen = [torch.cat([regions[r][part].flatten(0, 1) for r in chosen]) for part in (1, 2)]
            split = [x.unflatten(-1, (self.heads, 32)).transpose(0, 1) for x in (query.flatten(0, 1), *seen)]
            scores = split[0] @ split[1].mT / q.shape[-1] ** 0.5
            found.append((scores.softmax(-1) @ split[2]).transpose(0, 1).reshape(query.shape))
        step = self.regions
        return torch.cat([torch.cat(found[at : at + step], 1) for at in range(0, step * step, step)])


class Full(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.lepe = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (y.unflatten(-1, (8, -1)).transpose(1, 2) for y in self.qkv(x.flatten(1, 2)).chunk(3, -1))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        return self.proj(y + self.lepe(x.movedim(3, 1)).movedim(1, 3))


class Block(nn.Module):
    def __init__(self, width: int, attn: nn.Module) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = attn
        self.mlp = nn.ModuleDict({"0": nn.Linear(width, 3 * width), "3": nn.Linear(3 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = (x + self.pos_embed(x)).movedim(1, 3)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp["3"](F.gelu(self.mlp["0"](self.norm2(x))))
        return x.movedim(3, 1)


class Reference(nn.Module):
    def __init__(self, width: int, ks: list[int], regions: int, classes: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(len(ks) + 1)]
        stem = [nn.Conv2d(3, width // 2, 3, 2, 1), nn.BatchNorm2d(width // 2), nn.GELU()]
        stem += [nn.Conv2d(width // 2, width, 3, 2, 1), nn.BatchNorm2d(width)]
        self.downsample_layers = nn.ModuleList([nn.Sequential(*stem)])
        for a, b in pairwise(widths):
            self.downsample_layers.append(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b)))
        attentions = [Routing(w, k, regions) for w, k in zip(widths, ks, strict=False)] + [Full(widths[-1])]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(w, attention)) for w, attention in zip(widths, attentions, strict=True)
        )
        self.norm, self.head = nn.BatchNorm2d(widths[-1]), nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return self.head(self.norm(x).mean((2, 3)))


def test_biformer_is_its_algorithm() -> None:
    ours = planform.load(
        FILE,
        plan="biformer_tiny",
        width=32,
        depths=[1, 1, 1],
        ks=[1, 3],
        regions=2,
        classes=5,
        drop_path_rate=0.0,
    ).at(H=32, W=48)
    image = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert_parity(ours, Reference(32, [1, 3], 2, 5), [image])


@pytest.mark.parametrize(("k", "says"), [(5, "5 regions cannot be chosen of 4"), (4, None)])
def test_more_regions_than_there_are(k: int, says: str | None, tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8").partition("\nclaim ")[0]
    text += f"\nplan p = biformer(32, [1, 1], ks=[{k}], regions=2, drop_path_rate=0.0) at (B=1, H=32, W=32)\n"
    (tmp_path / "net.plan").write_text(text, encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    found = [d.message for d in PlanFile(tmp_path / "net.plan").check().diagnostics]
    assert found == [] if says is None else any(says in message for message in found)
