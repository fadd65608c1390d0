"""Float arithmetic on sizes that are not bound is done when a plan runs, alike in every backend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planform import PlanError, load
from planform.api.plan_file import PlanFile

# An expression over H and W, and what Python computes for it.
EXPRESSIONS = [
    ("1 / sqrt(H * W)", lambda H, W: 1 / math.sqrt(H * W)),
    ("H**-0.5", lambda H, W: H**-0.5),
    ("2 * (W - 1) / W", lambda H, W: 2 * (W - 1) / W),
    ("log(H)", lambda H, W: math.log(H)),
    ("log2(H * W + 1)", lambda H, W: math.log2(H * W + 1)),
    ("exp(-0.1 * W)", lambda H, W: math.exp(-0.1 * W)),
    ("sin(H) + cos(W)", lambda H, W: math.sin(H) + math.cos(W)),
    ("H / W", lambda H, W: H / W),
    ("W**-1", lambda H, W: 1 / W),
    ("1.5**W", lambda H, W: 1.5**W),
    ("2**W", lambda H, W: 2.0**W),
    ("float(H) - 0.5", lambda H, W: H - 0.5),
    ("0.5 * H % 2.0", lambda H, W: 0.5 * H % 2.0),
    ("H // 2.0", lambda H, W: H // 2.0),
    ("sum([1 / H, 2.0, W])", lambda H, W: 1 / H + 2.0 + W),
    ("(H * W -> sqrt())", lambda H, W: math.sqrt(H * W)),
]


def emitted_module(source: str) -> Any:
    """The last class of emitted source, made."""
    space: dict[str, Any] = {}
    exec(compile(source, "emitted.py", "exec"), space)
    return [
        value for value in space.values() if isinstance(value, type) and issubclass(value, torch.nn.Module)
    ][-1]()


HEAD = "planform 1\nmodel net(x: [B, 4, H, W]) {\n"


def plan(folder: Path, body: str, tail: str = "") -> Path:
    path = folder / "net.plan"
    path.write_text(f"{HEAD}{body}\n}}\nplan p = net(){tail}\n", encoding="utf-8")
    return path


def net(folder: Path) -> Path:
    terms = [f"x * ({text}) + ({text})" for text, _ in EXPRESSIONS]
    return plan(folder, f"    return [{', '.join(terms)}]")


def expected(x: np.ndarray) -> list[np.ndarray]:
    height, width = x.shape[2:]
    wide = x.astype(np.float64)
    return [wide * value(height, width) + value(height, width) for _, value in EXPRESSIONS]


SIZES = [(5, 7), (1, 1), (4, 2)]


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [0.5 + rng.random((2, 4, *size)) for size in SIZES]  # of one sign, so that nothing cancels


def test_eager_float64_gives_what_python_computes(tmp_path: Path) -> None:
    module = load(net(tmp_path)).to_torch().double().eval()
    for x in images():
        for ours, theirs in zip(module(torch.from_numpy(x)), expected(x), strict=True):
            assert ours.dtype == torch.float64
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["eager", "deploy", "emitted", "emitted deploy"])
def test_every_module_keeps_the_type_of_its_input(form: str, tmp_path: Path) -> None:
    model = load(net(tmp_path))
    mode: Any = "deploy" if "deploy" in form else "eval"
    module = emitted_module(model.to_source(mode)) if "emitted" in form else model.to_torch(mode=mode)
    for x in images():
        for ours, theirs in zip(module.eval()(torch.from_numpy(x).float()), expected(x), strict=True):
            assert ours.dtype == torch.float32
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-6, atol=2e-6)


def test_kernels_of_free_and_of_bound_sizes_give_it_too(tmp_path: Path) -> None:
    path = net(tmp_path)
    free = load(path).to_tvm()
    for x in images():
        for ours, theirs in zip(free(x.astype(np.float32)), expected(x), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=3e-6)
    x = images()[0]
    bound = load(path, at={"B": 2, "H": 5, "W": 7}).to_tvm()
    for ours, theirs in zip(bound(x.astype(np.float32)), expected(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=3e-6)


def test_halves_do_not_overflow_on_the_way(tmp_path: Path) -> None:
    module = load(plan(tmp_path, "    return x * (1 / sqrt(H * W))")).to_torch().half()
    x = torch.ones(1, 4, 300, 400, dtype=torch.float16)  # 120,000 is past the range of float16
    ours = module(x)
    assert ours.dtype == torch.float16
    torch.testing.assert_close(ours, torch.full_like(x, 1 / math.sqrt(120_000)))


@pytest.mark.parametrize(
    "body",
    [
        "    return reshape(x, [B, H / 2, -1])",
        "    for i in range(H / 2) { x = relu(x) }\n    return x",
        "    y: [B, 4, H / 1, W] = x\n    return y",
        "    n = int(H / 2)\n    return x",
        "    return x -> conv(H / 2, 3)",
        "    return x -> resize(size=[H * 0.5, W])",
        "    param w: [H / 2] = zeros()\n    return x",
    ],
)
def test_where_a_whole_number_is_wanted_the_error_says_how_to_get_one(body: str, tmp_path: Path) -> None:
    (found,) = PlanFile(plan(tmp_path, body)).check().diagnostics
    assert found.code == "E201"
    assert "by `//`, or bind the sizes" in found.help[0]


def test_a_condition_on_a_fraction_asks_for_the_sizes(tmp_path: Path) -> None:
    body = "    if H / W > 2 { x = relu(x) }\n    return x"
    (found,) = PlanFile(plan(tmp_path, body)).check().diagnostics
    assert found.code == "E201" and "bind the sizes" in found.help[0]
    assert PlanFile(plan(tmp_path, body, " at (H=9, W=3)")).check().diagnostics == ()


def test_whole_numbers_of_sizes_stay_sizes(tmp_path: Path) -> None:
    body = "    return reshape(x, [B, 2 * (H // 2 + H % 2), -1]) when_free"
    with pytest.raises(PlanError):
        PlanFile(plan(tmp_path, body))
    body = "    n = H * W + 2**3 - 8\n    return reshape(x, [B, 4, n])"
    assert PlanFile(plan(tmp_path, body)).check().diagnostics == ()


LISTS = """planform 1
model net(a: [B, 2], b: [B, 3], c: [B, 5]) {
    some = [a] + [b]
    both = (a, b) + (c,)
    x, y, z = both
    mixed = shape(a)[:1] + [1, 2]
    spread = [*some, c]
    nested = (*some, *[c])
    p, q, r = nested
    return {
        one = concat(some, axis=1), two = concat([x, y, z], axis=1), three = reshape(a, mixed)
        four = concat(spread, axis=1), five = concat([p, q, r], axis=1), six = reshape(a, [*shape(a), 1])
        seven = concat([*some, *some], axis=1), eight = (nested -> concat(axis=1))
    }
}
plan p = net()
"""


def test_lists_and_tuples_concatenate_and_spread() -> None:
    module = load_text(LISTS)
    a, b, c = (torch.randn(2, n, dtype=torch.float64) for n in (2, 3, 5))
    found = module(a, b, c)
    three = torch.cat([a, b, c], 1)
    wanted = {
        "one": torch.cat([a, b], 1),
        "two": three,
        "three": a[:, None],
        "four": three,
        "five": three,
        "six": a[..., None],
        "seven": torch.cat([a, b, a, b], 1),
        "eight": three,
    }
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def load_text(text: str) -> Any:
    from planform.api.model import Model

    return Model(PlanFile.from_text(text), "p", {}).to_torch().double().eval()


@pytest.mark.parametrize(
    ("body", "code"),
    [("y = [*x]", "E201"), ("y = [*3]", "E201"), ("y = (*x)", "E001"), ("y = [*[1], 2] + 3", "E213")],
)
def test_what_is_spread_is_a_list(body: str, code: str, tmp_path: Path) -> None:
    path = plan(tmp_path, f"    {body}\n    return x")
    try:
        found = PlanFile(path).check().diagnostics
    except PlanError as error:
        found = error.diagnostics
    assert [problem.code for problem in found] == [code]
