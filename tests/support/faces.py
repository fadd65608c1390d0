"""One plan on every face: torch eager, deployed and emitted source, kernels of bound and of free sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from planform import Model, PlanFile
from support.emitted import load

Answers = dict[str, list[torch.Tensor]]


def model(body: str, inputs: str, **sizes: Any) -> Model:
    """The model with this body, statements separated by `;`, and these inputs."""
    lines = "".join(f"    {line.strip()}\n" for line in body.split(";"))
    text = f"planform 1\nmodel network({inputs}) {{\n{lines}}}\nplan net = network()\n"
    return Model(PlanFile.from_text(text), "net", {}, sizes)


def as_list(results: Any) -> list[torch.Tensor]:
    """The results of a call as tensors."""
    many = results if isinstance(results, (tuple, list)) else [results]
    return [torch.as_tensor(np.asarray(each)) for each in many]


def faces(
    body: str, inputs: str, sizes: Mapping[str, int] | None = None, without: tuple[str, ...] = ()
) -> dict[str, Callable[..., list[torch.Tensor]]]:
    """A function of tensors for each face of a plan without weights; "free" where `sizes` bind some."""
    free = model(body, inputs)
    bound = model(body, inputs, **(sizes or {}))
    makers: dict[str, Callable[[], Any]] = {
        "eager": lambda: bound.to_torch(seed=0).eval(),
        "deploy": lambda: bound.to_torch(mode="deploy", seed=0),
        "source": lambda: load(bound.to_source()).eval(),
        "deployed source": lambda: load(bound.to_source("deploy")).eval(),
        "bound": lambda: bound.to_tvm(seed=0),
    }
    if sizes:
        makers["free"] = lambda: free.to_tvm(seed=0)
        makers["free eager"] = lambda: free.to_torch(seed=0).eval()
    runs = {name: make() for name, make in makers.items() if name not in without}
    return {name: lambda *given, run=run: as_list(run(*given)) for name, run in runs.items()}


def answers(body: str, inputs: str, *given: torch.Tensor, **sizes: int) -> Answers:
    """What each face gives."""
    with torch.inference_mode():
        return {name: run(*given) for name, run in faces(body, inputs, sizes).items()}


def assert_equal(found: torch.Tensor, wanted: torch.Tensor, what: str = "") -> None:
    """Equal in type and every element, the sign of zero and NaN included."""
    assert found.dtype == wanted.dtype, f"{what}: {found.dtype}, not {wanted.dtype}"
    torch.testing.assert_close(
        found, wanted, rtol=0, atol=0, equal_nan=True, msg=lambda text: f"{what}: {text}"
    )
    if found.is_floating_point():
        same = (found.signbit() == wanted.signbit()) | found.isnan()
        assert bool(same.all()), f"{what}: the sign of a zero"
