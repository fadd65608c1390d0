"""Recurrences as compiled loops, against torch running the same plan."""

from __future__ import annotations

import pytest
import torch

from planform.api.model import Model
from planform.api.plan_file import PlanFile

TEXT = """planform 1
block cell(x: [B, F], h: [B, F], c: [B, F]) {
    i, g, o = (concat(x, h, axis=1) -> gates: linear(3 * F) -> chunk(3, axis=1))
    c = c * sigmoid(i) + tanh(g)
    h = tanh(c) * sigmoid(o)
    return h, h, c
}
block swap(x: [B, F], a: [B, F], b: [B, F]) {
    return a + x, b, a
}
model recurrent(x: [B, N, F], h: [B, F], c: [B, F], reverse=false) {
    return scan(cell, x, h, c, axis=1, reverse=reverse)
}
model swapped(x: [B, N, F], a: [B, F], b: [B, F]) {
    return scan(swap, x, a, b, axis=1)
}
plan forward = recurrent()
plan backward = recurrent(reverse=true)
plan exchange = swapped()
"""


@pytest.mark.parametrize("plan", ["forward", "backward", "exchange"])
@pytest.mark.parametrize("sizes", [{"B": 2, "N": 5, "F": 24}, {"F": 24}], ids=["known", "free"])
def test_a_recurrence_is_a_loop_of_kernels(plan: str, sizes: dict[str, int]) -> None:
    model = Model(PlanFile.from_text(TEXT, "scan.plan"), plan, {}, sizes)
    eager = model.to_torch(seed=0).eval()
    given = [torch.randn(2, 5, 24), torch.randn(2, 24), torch.randn(2, 24)]
    with torch.inference_mode():
        wanted = eager(*given)
    found = model.to_tvm(eager.state_dict(), cached=False)(*given)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
