"""Norms, pools and resizes."""

from __future__ import annotations

from math import prod

from ..grow import Grower
from .common import chain, divisor


def norm(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 3, 3, 4, 4, 5)
    kinds = ["layer_norm()", "layer_norm(bias=false)", "rms_norm()", "layer_norm(affine=false)"]
    if x.rank > 2 and x.shape[1]:
        groups = divisor(rng, x.shape[1])
        kinds += ["batch_norm()", f"group_norm({groups})", "instance_norm(affine=true)", "layer_norm(axis=1)"]
        kinds += ["batch_norm(affine=false)", "frozen_batch_norm()", f"group_norm({groups}, affine=false)"]
        kinds += ["layer_norm(axis=[-2, -1])", "rms_norm(axis=[1, 2])", "local_response_norm(3)"]
    kinds += ["l2_normalize(axis=-1)", "softmax(axis=-1)", "softmax(axis=1)", "log_softmax(axis=-1)"]
    kind = rng.choice(kinds)
    named = "" if kind.startswith(("l2", "soft", "log", "local")) else f"{g.label()}: "
    g.add(chain(g, f"{x.name} -> {named}{kind}", norm=False))


def pool(g: Grower) -> None:
    rng, x = g.rng, g.pick(3, 4, 4, 4, 5)
    kernel = rng.choice((2, 2, 3))
    pad = rng.choice(("", ", pad=1", ', pad="tf_same"'))
    ceil = ", ceil_mode=true" if rng.random() < 0.25 and "tf" not in pad else ""
    stride = rng.choice(("", ", stride=1", ", stride=2", ", stride=3"))
    spatial = x.rank - 2
    size = "[" + ", ".join(str(rng.choice((1, 2, 3, 5))) for _ in range(spatial)) + "]"
    call = rng.choice(
        (
            f"max_pool({kernel}{stride}{pad}{ceil})",
            f"avg_pool({kernel}{stride}{pad}{ceil})",
            f"avg_pool({kernel}{stride}{pad}{ceil}, count_include_pad=false)",
            f"max_pool({kernel}, stride=1, dilation=2)",
            f"lp_pool({kernel}{stride})",
            f"adaptive_avg_pool({size})",
            f"adaptive_max_pool({size})",
            "global_avg_pool()",
            "global_max_pool(keepdim=true)",
        )
    )
    g.add(chain(g, f"{x.name} -> {call}"))


def resize(g: Grower) -> None:
    rng, x = g.rng, g.pick(3, 4, 4, 4, 5)
    if prod(x.shape) > 700:
        return
    mode = {3: "linear", 4: rng.choice(("bilinear", "bicubic")), 5: "trilinear"}[x.rank]
    mode = rng.choice((mode, mode, "nearest", "nearest-exact", "area"))
    spatial = x.rank - 2
    size = "[" + ", ".join(str(rng.choice((1, 3, 4, 5, 7, 8))) for _ in range(spatial)) + "]"
    to = rng.choice((f"size={size}", f"scale={rng.choice((2, 0.5, 1.5, 3))}"))
    corners = ", align_corners=true" if "linear" in mode or mode == "bicubic" else ""
    corners = rng.choice(("", corners))
    alias = ", antialias=true" if mode in ("bilinear", "bicubic") and rng.random() < 0.2 else ""
    g.add(chain(g, f'{x.name} -> resize({to}, mode="{mode}"{corners}{alias})'))
