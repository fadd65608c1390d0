"""Small plans as machine code, for tests of how they are used."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.runtime.compiled import CompiledPlan

# Operators that need no search for a kernel; the second half has all structures of results.
TEXT = """planform 1
about {
    title = "Small"
    input = {size = [6, 5], mean = [0.5], std = [0.25]}
}
model net(image: [B, 3, H, W]) -> [B, 3] {
    return image -> bn: batch_norm() -> relu() -> norm: batch_norm() -> mean(axis=[2, 3])
}
model pair(x: [B, 8], y: [B, 8]) {
    return {total = x + y, parts = (relu(x), [exp(y)])}
}
plan small = net()
plan two = pair()
"""


def model(plan: str = "small", folder: Path | None = None, **sizes: int) -> Model:
    """One of the plans, of a file in a folder or of none."""
    if folder is None:
        return Model(PlanFile.from_text(TEXT, "small.plan"), plan, {}, sizes)
    path = folder / "small.plan"
    path.write_text(TEXT, encoding="utf-8")
    return Model(PlanFile(path), plan, {}, sizes)


@cache
def compiled(plan: str = "small") -> CompiledPlan:
    """A plan compiled for this machine, with weights of seed 0; built once."""
    return model(plan).to_tvm(seed=0)
