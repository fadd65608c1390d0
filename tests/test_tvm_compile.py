"""What compiling a plan does: how many kernels are made, which are kept for other plans, and what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.codegen import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept before a test."""
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of kernels that code is made of."""
    from planform.backends.tvm.codegen import objects

    found: list[str] = []
    make = objects.kernel_code

    def counted(name: str, *others: Any) -> bytes:
        found.append(name)
        return make(name, *others)

    monkeypatch.setattr(objects, "kernel_code", counted)
    return found


def layers(widths: Sequence[int]) -> Model:
    """Convolutions to so many channels in a row, from 16."""
    lines = [
        f"    x = x -> conv{n}: conv({width}, 3, pad=1, bias=false) -> relu()"
        for n, width in enumerate(widths)
    ]
    text = "\n".join(
        [
            "planform 1",
            "model network(x: [1, 16, 8, 8]) {",
            *lines,
            "    return x",
            "}",
            "plan net = network()",
        ]
    )
    return Model(PlanFile.from_text(text, "net.plan"), "net", {}, {})


def compiled_and_right(model: Model, cached: bool) -> None:
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = model.to_torch(seed=0).eval()(x)
    torch.testing.assert_close(model.to_tvm(seed=0, cached=cached)(x), wanted, rtol=1e-4, atol=1e-5)


def test_equal_layers_are_compiled_once_and_others_once_each(made: list[str]) -> None:
    counts = []
    for depth in (4, 8, 16):
        made.clear()
        compiled_and_right(layers([16] * depth), cached=False)
        assert len(made) == len(set(made))
        counts.append(len(made))
    # The first, those within and the last, which the caller reads, are written differently.
    assert counts[0] == counts[1] == counts[2] <= 4
    grown = []
    for depth in (4, 8, 16):
        made.clear()
        compiled_and_right(layers([16 * (n + 1) for n in range(depth)]), cached=False)
        assert len(made) == len(set(made))
        grown.append(len(made))
    assert grown[1] - grown[0] == 4 and grown[2] - grown[1] == 8


def test_another_plan_compiles_what_is_new_in_it(made: list[str]) -> None:
    compiled_and_right(layers([16, 16, 16, 32]), cached=True)
    before = set(made)
    made.clear()
    compiled_and_right(layers([16, 16, 16, 16, 32]), cached=True)
    assert not made
    compiled_and_right(layers([16, 16, 48]), cached=True)
    assert made and not before & set(made)
    # Without the cache nothing is read from it.
    made.clear()
    compiled_and_right(layers([16, 16, 16, 32]), cached=False)
    assert set(made) == before


def test_a_damaged_kernel_is_made_again(made: list[str]) -> None:
    model = layers([16, 32])
    compiled_and_right(model, cached=True)
    before = sorted(made)
    for path in (*cache.folder().iterdir(), *cache.folder("kernels").iterdir()):
        path.write_bytes(path.read_bytes()[:-1])
    made.clear()
    compiled_and_right(model, cached=True)
    assert sorted(made) == before


FRESH = """
import sys
from planform import Model, PlanFile
text = "planform 1\\nmodel network(x: [4]) {\\n    return exp(x)\\n}\\nplan net = network()\\n"
import numpy as np
Model(PlanFile.from_text(text), "net", {}).to_tvm(cached=False)(np.zeros(4, np.float32))
print("tvm" in sys.modules, "tvm.topi" in sys.modules)
from tvm.script import relax
import tvm
print(tvm.relax.Function.__name__, tvm.relax.transform.FuseOps.__name__)
"""


def test_parts_of_tvm_that_make_no_kernels_are_imported_when_they_are_used() -> None:
    run = [sys.executable, "-c", FRESH]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert done.stdout.split() == ["True", "False", "Function", "FuseOps"], done.stderr


def test_progress_is_told_as_a_share() -> None:
    told: list[str] = []
    layers([16, 32]).to_tvm(seed=0, cached=False)(np.zeros((1, 16, 8, 8), np.float32))
    from planform.api.compile import to_tvm

    to_tvm(layers([16, 32]), seed=0, cached=False, tell=told.append)
    shares = [stage.rpartition(" ")[2] for stage in told if "%" in stage]
    assert shares[-1] == "100%" and len(shares) == len(set(shares)) > 1
