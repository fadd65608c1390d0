"""The blocks of the standard library against timm, torchvision and torch, weight by weight under the same paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from planform import PlanError
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from support.parity import assert_parity


def net(names: str, inputs: str, body: str) -> Model:
    """A model of one body, with the inputs' shapes as written."""
    text = f"planform 1\nuse std ({names})\nmodel net({inputs}) {{\n{body}\n}}\nplan p = net()\n"
    return Model(PlanFile.from_text(text), "p", {})


def one(call: str, shape: str) -> Model:
    """A model that is one call of a block of std."""
    name = call.partition("(")[0]
    return net(name, f"x: {shape}", f"    return x -> {call}")


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Nested(nn.Module):
    """A module under the name of our unlabelled call."""

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, inner)

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self, self.name)(*inputs)


# ---------------------------------------------------------------- attention


def test_class_attention_is_that_of_cait(timm: Any) -> None:
    from timm.models.cait import ClassAttn

    theirs = Nested("class_attention", ClassAttn(24, num_heads=3, qkv_bias=True))
    assert_parity(one("class_attention(3, qkv_bias=true)", "[B, N, 24]"), theirs, [drawn(2, 7, 24)])


def test_the_block_of_class_attention_is_that_of_cait(timm: Any) -> None:
    from timm.models.cait import LayerScaleBlockClassAttn

    block = LayerScaleBlockClassAttn(
        24, 3, qkv_bias=True, norm_layer=lambda dim, **_: nn.LayerNorm(dim, eps=1e-6)
    )
    ours = net(
        "class_attention_block",
        "x: [B, N, 24], token: [B, 1, 24]",
        "    return class_attention_block(x, token, heads=3)",
    )
    assert_parity(ours, Nested("class_attention_block", block), [drawn(2, 7, 24), drawn(2, 1, 24)])
    start = ours.to_torch().state_dict()["class_attention_block.gamma_1"]
    assert torch.equal(start, torch.full((24,), 1e-4))


def test_attention_with_names_and_maps_of_ones_own() -> None:
    body = '    return x -> a: class_attention(2, map=linear(init=zeros()), names=["wq", "wk", "wv", "out"])'
    module = net("class_attention", "x: [B, N, 8]", body).to_torch()
    assert {path for path in module.state_dict() if "weight" in path} == {
        f"a.{name}.weight" for name in ("wq", "wk", "wv", "out")
    }
    assert not module.state_dict()["a.out.weight"].any()


def test_mlp_takes_its_maps_norm_names_and_width() -> None:
    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.norm, self.down = nn.Linear(6, 10), nn.LayerNorm(10), nn.Linear(10, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(self.norm(torch.relu(self.up(x))))

    body = '    return x -> mlp(10, relu(), out=4, norm=layer_norm(), names=["up", "down"])'
    assert_parity(net("mlp", "x: [B, 6]", body), Nested("mlp", Theirs()), [drawn(3, 6)])
    body = "    return x -> mlp(10, map=linear(init=normal(std=0.5), bias=false))"
    module = net("mlp", "x: [B, 64]", body).to_torch(seed=1)
    assert set(module.state_dict()) == {"mlp.fc1.weight", "mlp.fc2.weight"}
    assert abs(module.state_dict()["mlp.fc1.weight"].std() - 0.5) < 0.1


def test_the_gated_mlp_is_the_swiglu_of_timm(timm: Any) -> None:
    from timm.layers import SwiGLU

    theirs = Nested("gated_mlp", SwiGLU(6, 10, norm_layer=None))
    body = '    return x -> gated_mlp(10, bias=true, names=["fc1_g", "fc1_x", "fc2"])'
    assert_parity(net("gated_mlp", "x: [B, N, 6]", body), theirs, [drawn(2, 3, 6)])


def test_layer_scale_of_the_last_axis_and_of_channels(timm: Any) -> None:
    from timm.layers import LayerScale, LayerScale2d

    assert_parity(one("layer_scale(0.1)", "[B, N, 6]"), LayerScale(6, 0.1), [drawn(2, 3, 6)])
    assert_parity(one("layer_scale(0.1, axis=1)", "[B, 6, H, W]"), LayerScale2d(6, 0.1), [drawn(2, 6, 3, 4)])
    module = one('layer_scale(0.25, "gamma_2", axis=1)', "[B, 6, L]").to_torch()
    assert torch.equal(module.state_dict()["gamma_2"], torch.full((6,), 0.25))


def test_patches_apart_overlapping_normed_and_as_a_map(timm: Any) -> None:
    from timm.layers import PatchEmbed
    from timm.models.metaformer import Downsampling

    theirs = Nested("patch_embed", PatchEmbed(None, 4, 3, 8, norm_layer=nn.LayerNorm))
    assert_parity(one("patch_embed(8, 4, norm=layer_norm())", "[B, 3, H, W]"), theirs, [drawn(2, 3, 8, 12)])
    flat = Nested("patch_embed", PatchEmbed(None, 4, 3, 8, flatten=False, output_fmt="NHWC"))
    assert_parity(one("patch_embed(8, 4, flat=false)", "[B, 3, H, W]"), flat, [drawn(2, 3, 8, 12)])

    class Stem(nn.Module):  # of PoolFormer, which has no norm behind its first patches
        def __init__(self) -> None:
            super().__init__()
            self.proj = Downsampling(3, 8, 7, stride=4, padding=2).conv

        def forward(self, x: Tensor) -> Tensor:
            return self.proj(x).flatten(2).transpose(1, 2)

    overlapping = one("patch_embed(8, 7, stride=4, pad=2)", "[B, 3, H, W]")
    assert_parity(overlapping, Nested("patch_embed", Stem()), [drawn(2, 3, 13, 18)])


def test_tokens_stand_before_the_sequence() -> None:
    body = "    param cls: [1, 1, 4] = zeros()\n    param regs: [1, 2, 4] = zeros()\n    return x -> with_tokens([cls, regs])"
    module = net("with_tokens", "x: [B, N, 4]", body).to_torch().double()
    module.load_state_dict({"cls": torch.full((1, 1, 4), 7.0), "regs": torch.full((1, 2, 4), 8.0)})
    x = drawn(2, 3, 4)
    wanted = torch.cat([torch.full((2, 1, 4), 7.0), torch.full((2, 2, 4), 8.0), x], dim=1)
    assert torch.equal(module(x), wanted)


# ---------------------------------------------------------------- convolutions


def test_convolution_norm_activation_is_that_of_torchvision(torchvision: Any) -> None:
    theirs = torchvision.ops.Conv2dNormActivation(
        6, 8, 3, stride=2, groups=2, dilation=2, activation_layer=nn.SiLU
    )
    body = '    return x -> conv_norm_act(8, 3, stride=2, dilation=2, groups=2, act=silu(), names=["0", "1"])'
    assert_parity(net("conv_norm_act", "x: [B, 6, H, W]", body), theirs, [drawn(2, 6, 9, 11)])


def test_convolution_norm_activation_stands_where_it_is_put() -> None:
    body = "    return x -> conv_norm_act(4) -> more: conv_norm_act(4, norm=none, act=none, bias=true)"
    paths = set(net("conv_norm_act", "x: [B, 3, L]", body).to_torch().state_dict())
    assert {"conv.weight", "bn.weight", "more.conv.weight", "more.conv.bias"} <= paths
    assert not any(path.startswith("more.bn") for path in paths)


def test_squeeze_excite_with_other_names(timm: Any) -> None:
    from timm.layers import SqueezeExcite

    body = '    return x -> squeeze_excite(4, act=relu(), names=["fc1", "fc2"])'
    theirs = Nested("squeeze_excite", SqueezeExcite(8, rd_channels=4))
    assert_parity(net("squeeze_excite", "x: [B, 8, H, W]", body), theirs, [drawn(2, 8, 5, 4)])
    module = one("squeeze_excite(4, bias=false, init=zeros())", "[B, 8, H, W]").to_torch()
    assert set(module.state_dict()) == {
        "squeeze_excite.conv_reduce.weight",
        "squeeze_excite.conv_expand.weight",
    }
    assert not any(value.any() for value in module.state_dict().values())


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(10, 13), (8, 8), (3, 9), (4, 4)])
def test_padded_windows_are_those_of_torchvision(
    size: tuple[int, int], shifted: bool, torchvision: Any
) -> None:
    from torchvision.models.swin_transformer import shifted_window_attention

    window, heads, dim = 4, 2, 8
    text = f"""planform 1
use std (in_windows)
block attention(x: [B, K, N, D], mask: tensor | none, p: int, q: int) {{
    query, key, value = x -> qkv: linear(3 * D)
            -> rearrange("b k n (qkv h d) -> qkv b k h n d", qkv=3, h={heads})
            -> unbind()
    y = (query, key, value, mask) -> scaled_dot_product_attention()
    return y -> rearrange("b k h n d -> b k n (h d)") -> proj: linear(D)
}}
model net(x: [B, H, W, {dim}]) {{
    return x -> in_windows({window}, {str(shifted).lower()}, attention(), padded=true)
}}
plan p = net() at (H={size[0]}, W={size[1]})
"""
    ours = Model(PlanFile.from_text(text), "p", {}).to_torch(seed=0).double()
    weights = ours.state_dict()
    x = drawn(2, *size, dim)
    wanted = shifted_window_attention(
        x,
        weights["attn.qkv.weight"],
        weights["attn.proj.weight"],
        relative_position_bias=torch.zeros(1, heads, window**2, window**2, dtype=torch.float64),
        window_size=[window, window],
        num_heads=heads,
        shift_size=[window // 2 if shifted else 0] * 2,
        qkv_bias=weights["attn.qkv.bias"],
        proj_bias=weights["attn.proj.bias"],
    )
    torch.testing.assert_close(ours(x), wanted, rtol=1e-9, atol=1e-9)


def test_windows_that_do_not_divide_are_an_error_that_names_the_way() -> None:
    text = """planform 1
use std (in_windows)
block attention(x: [B, K, N, D], mask: tensor | none, p: int, q: int) { return x }
model net(x: [B, H, W, 8]) { return x -> in_windows(4, true, attention()) }
plan p = net() at (H=10, W=8)
"""
    with pytest.raises(PlanError) as caught:
        PlanFile.from_text(text).program("p", {}, {}, ("eval",))
    assert "`padded`" in caught.value.diagnostics[0].message


def table(body: str, names: str) -> np.ndarray:
    """The value of a constant."""
    return (
        net(names, "x: [B]", f"    return {body} + 0 * sum(cast(x, i64))").to_torch()(torch.ones(1)).numpy()
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_distances_are_those_of_levit(stride: int, timm: Any) -> None:
    from timm.models.levit import Attention, AttentionDownsample

    resolution = (5, 4)
    if stride == 1:
        theirs = Attention(8, 4, 2, resolution=resolution)
    else:
        theirs = AttentionDownsample(8, 8, 4, 2, stride=2, resolution=resolution)
    ours = table(f"distance_index(5, 4, {stride})", "distance_index")
    np.testing.assert_array_equal(ours, theirs.attention_bias_idxs.numpy())


def test_relative_positions_with_a_stride_are_rows_of_those_without(timm: Any) -> None:
    from timm.layers import gen_relative_position_index

    full = gen_relative_position_index((5, 4)).numpy()
    np.testing.assert_array_equal(table("relative_position_index(5, 4)", "relative_position_index"), full)
    rows = full.reshape(5, 4, 20)[::2, ::2].reshape(-1, 20)
    np.testing.assert_array_equal(table("relative_position_index(5, 4, 2)", "relative_position_index"), rows)


@pytest.mark.parametrize("norm_first", [True, False])
def test_merging_is_that_of_swin(norm_first: bool, timm: Any) -> None:
    from timm.models import swin_transformer, swin_transformer_v2

    kind = (swin_transformer if norm_first else swin_transformer_v2).PatchMerging
    call = f"patch_merging(norm_first={str(norm_first).lower()})"
    assert_parity(one(call, "[B, H, W, 6]"), Nested("patch_merging", kind(6)), [drawn(2, 4, 8, 6)])


# ---------------------------------------------------------------- positions, composition


def positions(call: str, names: str, **sizes: int) -> Tensor:
    """What is added to a tensor of free sizes H and W, or N."""
    axes = ", ".join(sizes)
    body = f"    return unsqueeze(x, 0) * 0.0 + ({call})" if not sizes else f"    return (({call}), x)"
    module = net(names, f"x: [{axes}]", body).to_torch(dtype=torch.float64)
    return module(torch.zeros(*sizes.values(), dtype=torch.float64))[0]


@pytest.mark.parametrize("columns_first", [False, True])
@pytest.mark.parametrize("by_axis", [False, True])
def test_positions_on_a_map_are_those_of_timm(by_axis: bool, columns_first: bool, timm: Any) -> None:
    from timm.layers import build_sincos2d_pos_embed

    flags = f"by_axis={str(by_axis).lower()}, columns_first={str(columns_first).lower()}"
    ours = positions(f"sincos_positions_2d(H, W, 16, theta=1000.0, {flags})", "sincos_positions_2d", H=3, W=5)
    # Their reversal also runs along columns first; ours exchanges the features alone.
    height, width = (5, 3) if columns_first else (3, 5)
    theirs = build_sincos2d_pos_embed([height, width], 16, temperature=1000.0, interleave_sin_cos=by_axis)
    if columns_first:
        theirs = theirs.reshape(5, 3, 16).transpose(0, 1).reshape(15, 16)
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("interleaved", [False, True])
def test_positions_along_a_sequence_follow_the_formula(interleaved: bool) -> None:
    n, dim = 7, 10
    wanted = np.zeros((n, dim))
    for position in range(n):
        for pair in range(dim // 2):
            angle = position / 10000 ** (2 * pair / dim)  # section 3.5 of arXiv:1706.03762
            at = (2 * pair, 2 * pair + 1) if interleaved else (pair, dim // 2 + pair)
            wanted[position, at[0]], wanted[position, at[1]] = np.sin(angle), np.cos(angle)
    flag = str(interleaved).lower()
    ours = positions(f"sincos_positions(N, {dim}, interleaved={flag})", "sincos_positions", N=n)
    np.testing.assert_allclose(ours.numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_a_sequence_is_what_torch_calls_sequential() -> None:
    theirs = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 2)
    )
    body = "    return x -> sequence([linear(6), relu(), sequence([linear(6), tanh()]), linear(2)])"
    assert_parity(net("sequence", "x: [B, 4]", body), theirs, [drawn(3, 4)])
    labelled = net("sequence", "x: [B, 4]", body.replace("-> sequence", "-> layers: sequence"))
    assert set(labelled.to_torch().state_dict()) == {f"layers.{path}" for path in theirs.state_dict()}


def test_every_block_has_a_comment_before_it_and_a_place_in_the_documents() -> None:
    root = Path(__file__).resolve().parent.parent
    page = (root / "docs" / "std.md").read_text(encoding="utf-8")
    for path in sorted((root / "dsl" / "std").glob("*.plan")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if line.startswith(("block ", "inline block ")):
                name = line.removeprefix("inline ").removeprefix("block ").partition("(")[0]
                assert lines[number - 1].startswith("# "), f"{path.name}: {name}"
                assert f"### {name}\n" in page
