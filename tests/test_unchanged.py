"""Calls that change nothing leave no operator: those of which torch gives back every value, infinities too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

import planform

_SAME = (5, 6)
CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "pad([0, 0, 0, 0])": lambda x: pad(x, (0, 0, 0, 0)),
    'pad([0, 0], mode="circular")': lambda x: pad(x[0], (0, 0), "circular")[None],
    "resize(size=[H, W])": lambda x: interpolate(x, _SAME),
    "resize(scale=1)": lambda x: interpolate(x, scale_factor=1.0),
    'resize(size=[H, W], mode="area")': lambda x: interpolate(x, _SAME, mode="area"),
    'resize(size=[H, W], mode="nearest-exact")': lambda x: interpolate(x, _SAME, mode="nearest-exact"),
    'resize(size=[H, W], mode="bicubic", antialias=true)': lambda x: interpolate(
        x, _SAME, mode="bicubic", antialias=True
    ),
    'resize(scale=1.0, mode="bilinear", antialias=true)': lambda x: interpolate(
        x, scale_factor=1.0, mode="bilinear", antialias=True
    ),
    # Those that do change something: by zero times infinity, or by their own positions.
    "resize(scale=[1, 2])": lambda x: interpolate(x, scale_factor=(1.0, 2.0)),
    'resize(size=[H, W], mode="bilinear")': lambda x: interpolate(x, _SAME, mode="bilinear"),
    'resize(size=[H, W], mode="bicubic", align_corners=true)': lambda x: interpolate(
        x, _SAME, mode="bicubic", align_corners=True
    ),
    "resize(size=[W, H])": lambda x: interpolate(x, _SAME[::-1]),
    "pad([1, -1])": lambda x: pad(x, (1, -1)),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_changes_nothing_costs_nothing(call: str) -> None:
    shape = "[3, H, W]" if "circular" in call else "[1, 3, H, W]"
    text = f"planform 1\nmodel m(x: {shape}) {{\n    return x -> same: {call}\n}}\nplan p = m()\n"
    model = planform.Model(planform.PlanFile.from_text(text), "p", {})
    x = torch.randn(1, 3, *_SAME)
    x[0, 0, 2, 3], x[0, 1, 0, 0] = torch.inf, torch.nan
    given, wanted = (x[0], CALLS[call](x)[0]) if "circular" in call else (x, CALLS[call](x))
    for mode in ("eval", "deploy"):
        torch.testing.assert_close(model.to_torch(mode=mode)(given), wanted, equal_nan=True, rtol=0, atol=0)
    unchanged = wanted.shape == given.shape and torch.equal(
        wanted.nan_to_num(nan=7.5), given.nan_to_num(nan=7.5)
    )
    for mode in ("eval", "train", "deploy"):
        report = model.cost(mode, H=5, W=6)
        assert (report.sums.bytes == 0) == unchanged, mode
        assert not unchanged or report.sums.macs == 0


def test_what_is_wrong_is_still_refused() -> None:
    text = (
        'planform 1\nmodel m(x: [B, 3]) {\n    return pad(x, [0, 0, 0, 0], mode="reflect")\n}\nplan p = m()\n'
    )
    report = planform.PlanFile.from_text(text).check()
    assert [found.code for found in report.diagnostics] == ["E302"]
