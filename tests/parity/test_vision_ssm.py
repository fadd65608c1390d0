"""VMamba and MSVMamba against their papers' equations: scans position by position, paths as lists of positions.

The released code itself needs a CUDA kernel; with its own torch fallback both plans gave its results and numbers of
parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import planform
from support.parity import assert_parity

FOLDER = Path(__file__).parents[2] / "examples/vision_ssm"
SMALL: dict[str, Any] = {"width": 16, "depths": [1, 1, 2], "classes": 5, "drop_path_rate": 0.0}


class Scan(nn.Module):
    """The scan of `paths` sequences of D channels with one state each, one position after another."""

    def __init__(self, paths: int, features: int, rank: int) -> None:
        super().__init__()
        self.x_proj_weight = nn.Parameter(torch.empty(paths, rank + 2, features))
        self.dt_projs_weight = nn.Parameter(torch.empty(paths, features, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(paths, features))
        self.A_logs = nn.Parameter(torch.empty(paths * features, 1))
        self.Ds = nn.Parameter(torch.empty(paths * features))

    def path(self, k: int, sequence: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D] with the weights of path k."""
        features = sequence.shape[2]
        own = slice(k * features, (k + 1) * features)
        known = sequence @ self.x_proj_weight[k].T
        step = F.softplus(known[..., :-2] @ self.dt_projs_weight[k].T + self.dt_projs_bias[k])
        h = torch.zeros_like(sequence[:, 0])
        found: list[Tensor] = []
        for at in range(sequence.shape[1]):
            decay = torch.exp(step[:, at] * -self.A_logs[own, 0].exp())
            h = decay * h + step[:, at] * known[:, at, -2:-1] * sequence[:, at]
            found.append(known[:, at, -1:] * h + self.Ds[own] * sequence[:, at])
        return torch.stack(found, 1)


def orders(height: int, width: int) -> list[list[tuple[int, int]]]:
    """Four paths through a map: rows, columns, and both from the end."""
    rows = [(y, x) for y in range(height) for x in range(width)]
    columns = [(y, x) for x in range(width) for y in range(height)]
    return [rows, columns, rows[::-1], columns[::-1]]


def along(x: Tensor, path: list[tuple[int, int]]) -> Tensor:
    """The positions of [B, H, W, D] in the order of a path."""
    return x[:, [y for y, _ in path], [x for _, x in path]]


def back(sequence: Tensor, path: list[tuple[int, int]], like: Tensor) -> Tensor:
    result = torch.zeros_like(like)
    result[:, [y for y, _ in path], [x for _, x in path]] = sequence
    return result


def conv(layer: nn.Module, x: Tensor) -> Tensor:
    """A convolution where channels stand last."""
    return layer(x.movedim(3, 1)).movedim(1, 3)


class SS2D(Scan):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__(4, inner, -(-width // 16))
        self.in_proj = nn.Linear(width, inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(conv(self.conv2d, self.in_proj(x)))
        found = sum(
            back(self.path(k, along(x, path)), path, x) for k, path in enumerate(orders(*x.shape[1:3]))
        )
        return self.out_proj(self.out_norm(found))


class MS2D(Scan):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__(2, inner, -(-width // 16))
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.conv2d_b1 = nn.Conv2d(inner, inner, 7, stride=2, padding=3, groups=inner)
        self.out_norm = nn.LayerNorm(inner)
        self.se = nn.Module()
        self.se.fc = nn.Sequential(
            nn.Linear(inner, inner // 8, bias=False),
            nn.ReLU(),
            nn.Linear(inner // 8, inner, bias=False),
            nn.Sigmoid(),
        )
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x, z = self.in_proj(x).chunk(2, -1)
        full, half = F.silu(conv(self.conv2d, x)), F.silu(conv(self.conv2d_b1, x))
        rows, columns, rows_back, columns_back = orders(*half.shape[1:3])
        paths = [rows_back, columns, columns_back]
        # One sequence, through which the state goes on.
        whole = self.out_norm(self.path(0, torch.cat([along(half, path) for path in paths], 1)))
        low = sum(back(piece, path, half) for piece, path in zip(whole.chunk(3, 1), paths, strict=True))
        low = F.interpolate(low.movedim(3, 1), full.shape[1:3], mode="bilinear").movedim(1, 3)
        rows = orders(*full.shape[1:3])[0]
        y = low + back(self.out_norm(self.path(1, along(full, rows))), rows, full)
        y = y * self.se.fc(y.mean((1, 2)))[:, None, None]
        return self.out_proj(y * F.silu(z))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ConvFFN(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, width, 1)
        self.dwc = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear1(x.movedim(3, 1))
        return self.linear2(F.gelu(x + self.dwc(x))).movedim(1, 3)


class Block(nn.Module):
    def __init__(self, width: int, op: nn.Module, name: str, branch: nn.Module) -> None:
        super().__init__()
        self.norm, self.norm2, self.op, self.name = nn.LayerNorm(width), nn.LayerNorm(width), op, name
        self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.op(self.norm(x))
        return x + getattr(self, self.name)(self.norm2(x))


class Halve(nn.Module):
    """A convolution of stride 2 and a norm, under the numbers that the released code gives them."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.add_module("1", nn.Conv2d(width, out, 3, 2, 1))
        self.add_module("3", nn.LayerNorm(out))

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, "3")(conv(getattr(self, "1"), x))


class Merge(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, dy::2, dx::2] for dx in (0, 1) for dy in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Stages(nn.Module):
    """Stem, stages and classifier; `multi` is MSVMamba."""

    def __init__(self, width: int, depths: list[int], classes: int, ratio: int, multi: bool) -> None:
        super().__init__()
        self.multi = multi
        stem = {"0": nn.Conv2d(3, width, 4, 4), "2": nn.LayerNorm(width)}
        if not multi:
            stem = {"0": nn.Conv2d(3, width // 2, 3, 2, 1), "2": nn.LayerNorm(width // 2)}
            stem |= {"5": nn.Conv2d(width // 2, width, 3, 2, 1), "7": nn.LayerNorm(width)}
        self.patch_embed = nn.ModuleDict(stem)
        self.layers = nn.ModuleList()
        for i, depth in enumerate(depths):
            own = width * 2**i
            layer = nn.Module()
            layer.blocks = nn.Sequential(
                *(
                    Block(own, MS2D(own, ratio * own), "convFFN", ConvFFN(own))
                    if multi
                    else Block(own, SS2D(own, ratio * own), "mlp", Mlp(own))
                    for _ in range(depth)
                )
            )
            layer.downsample = nn.Identity()
            if i < len(depths) - 1:
                layer.downsample = Merge(own) if multi else Halve(own, 2 * own)
            self.layers.append(layer)
        self.classifier = nn.ModuleDict({"norm": nn.LayerNorm(own), "head": nn.Linear(own, classes)})

    def forward(self, image: Tensor) -> Tensor:
        stem = self.patch_embed
        x = stem["2"](conv(stem["0"], image.movedim(1, 3)))
        if not self.multi:
            x = stem["7"](conv(stem["5"], F.gelu(x)))
        for layer in self.layers:
            x = layer.downsample(layer.blocks(x))
        return self.classifier["head"](self.classifier["norm"](x).mean((1, 2)))


def check(name: str, ratio: int, multi: bool) -> None:
    family = name.partition("_")[0]
    ours = planform.load(FOLDER / f"{family}.plan", plan=name, **SMALL).at(H=32, W=48)
    reference = Stages(SMALL["width"], SMALL["depths"], SMALL["classes"], ratio, multi)
    image = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert_parity(ours, reference, [image])


def test_vmamba_is_what_its_paper_says() -> None:
    check("vmamba_tiny_s2l5", ratio=2, multi=False)


def test_msvmamba_is_what_its_paper_and_code_say() -> None:
    check("msvmamba_nano", ratio=2, multi=True)
