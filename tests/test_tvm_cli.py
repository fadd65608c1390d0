"""`planform compile --to tvm`, `run` of what it writes, and `compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.cli.app import run as run_command_line
from support.compiled import TEXT, model


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    (tmp_path / "small.plan").write_text(TEXT, encoding="utf-8")

    def command(*arguments: str) -> Done:
        code = run_command_line(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    return command


def weights(path: Path) -> dict[str, torch.Tensor]:
    found = model().to_torch(seed=5).state_dict()
    for value in found.values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    safetensors.torch.save_file(found, path)
    return found


def test_a_compiled_plan_sees_in_an_image_what_torch_sees(run: Run, tmp_path: Path) -> None:
    weights(tmp_path / "w.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "i.png")
    given = ("small.plan", "--to", "tvm", "--weights", "w.safetensors")
    done = run("compile", *given, "--at", "H=6,W=5")
    assert done.code == 0 and done.err == ""
    done = run("compile", *given)
    assert "H and W are free" in done.err and "--at H=6,W=5 makes" in done.err
    assert done.code == 0 and (tmp_path / "small.plank").is_file()
    seen = run("run", "small.plank", "--input", "i.png", "--json")
    wanted = run("run", "small.plan", "--weights", "w.safetensors", "--input", "i.png", "--json")
    found, torchs = (json.loads(each.out) for each in (seen, wanted))
    assert found["inputs"] == {"image": {"shape": [1, 3, 6, 5], "dtype": "float32"}} == torchs["inputs"]
    assert [each["index"] for each in found["classes"]] == [each["index"] for each in torchs["classes"]]
    probabilities = [[each["probability"] for each in one["classes"]] for one in (found, torchs)]
    np.testing.assert_allclose(*probabilities, rtol=1e-5)
    text = run("run", "small.plank", "--input", "i.png", "--top", "1")
    assert text.code == 0 and text.out.count("%") == 1


def test_a_compiled_plan_runs_on_random_numbers_with_sizes_bound(run: Run) -> None:
    assert "the weights are random" in run("compile", "small.plan", "--to", "tvm").err
    done = json.loads(run("run", "small.plank", "--at", "B=2,W=9", "--json").out)
    assert done["inputs"]["image"]["shape"] == [2, 3, 6, 9]
    assert run("compile", "small.plan:two", "--to", "tvm").err == ""
    assert list(json.loads(run("run", "two.plank", "--json").out)["outputs"]) == [
        "total",
        "parts.0",
        "parts.1.0",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compile", "small.plan", "--to", "tvm", "--target", "gpu"], 1, "error[E701]: `gpu` is no target"),
        (["compile", "small.plan", "--to", "tvm", "--emit", "fx"], 2, "--emit fx is for torch"),
        (["compile", "small.plan", "--target", "cpu"], 2, "--target is for --to tvm"),
        (["compile", "small.plan", "--to", "tvm", "-w", "none.pt"], 2, "there is no file none.pt"),
        (["run", "none.plank"], 2, "no such file"),
        (["run", "text.plank"], 1, "error[E705]: text.plank is no artifact"),
        (["run", "small.plank", "--weights", "w"], 2, "--weights is for plans"),
        (["run", "small.plank", "--at", "B"], 2, "--at takes NAME=NUMBER"),
        (["run", "small.plank", "--at", "B=0"], 1, "axis 0 is 0, and must be at least 1"),
        (["run", "two.plank", "--input", "small.plan"], 2, "two does not take one image"),
        (["run", "small.plank", "--input", "small.plan"], 1, "no image that can be read"),
        (["run", "small.plank", "--input", "none.png"], 2, "no such file"),
    ],
)
def test_mistakes_are_named(run: Run, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "text.plank").write_text("hello", encoding="utf-8")
    for name in {each for each in arguments if each in ("small.plank", "two.plank")}:
        run("compile", f"small.plan:{Path(name).stem}", "--to", "tvm")
    done = run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    failed = run(*arguments, "--json")
    assert failed.code == code and failed.err == ""
    assert message.rpartition("]: ")[2] in json.loads(failed.out)["error"]


def test_what_was_made_can_be_read_with_the_lines_of_the_plan(run: Run) -> None:
    for form, words in (("tir", "T.parallel"), ("llvm", "define "), ("asm", "\n")):
        done = run("compile", "small.plan:two", "--emit", form)
        assert done.code == 0 and words in done.out
        for operator, line in (("add", 10), ("relu", 10), ("exp", 10)):
            assert any(
                text[:1] in "#;" and operator in text and f"small.plan:{line}" in text
                for text in done.out.splitlines()
            ), (form, operator)
    done = run("compile", "small.plan:two", "--to", "tvm", "--emit", "graph")
    assert done.out.startswith("graph two(")


def test_code_for_another_architecture_is_shown(run: Run) -> None:
    target = json.dumps({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76"})
    done = run("compile", "small.plan:two", "--emit", "asm", "--target", target)
    assert done.code == 0
    assert "fadd\tv" in done.out  # the vector addition of NEON


def test_backends_are_compared(run: Run) -> None:
    done = run("compare", "small.plan")
    assert done.code == 0 and "torch and tvm are the same" in done.out
    found = json.loads(run("compare", "small.plan:two", "--json").out)
    assert found["ok"] and [each["name"] for each in found["results"]] == ["total", "parts.0", "parts.1.0"]


def test_the_first_value_that_differs_is_named_with_its_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from planform.backends.tvm.runtime import compiled

    def wrong(build: Any, weights: dict[str, Any], about: Any = None) -> Any:
        weights = {name: value + 1 if name == "norm.bias" else value for name, value in weights.items()}
        return honest(build, weights, about)

    honest = compiled.with_weights
    monkeypatch.setattr(compiled, "with_weights", wrong)
    done = run("compare", "small.plan")
    assert done.code == 1
    assert "torch and tvm are different" in done.out
    assert "the first value that differs is norm:" in done.out
    line = TEXT.splitlines().index(next(each for each in TEXT.splitlines() if "norm: " in each)) + 1
    assert f"small.plan:{line}  return image -> bn" in done.out
    found = json.loads(run("compare", "small.plan", "--json").out)
    assert found["first"]["name"] == "norm" and found["first"]["error"] > 0.1
    assert run("compare", "small.plan", "--tolerance", "100").code == 0


DEEP = """planform 1
block unit(x: [B, C, H, W]) {
    return x -> conv: conv(C, 3, pad=1) -> norm: batch_norm() -> relu()
}
model net(x: [B, 8, 9, 9]) {
    y = x
    for i in range(16) { y = y -> "units.{i}": unit() }
    y = y -> last: conv(8, 1) -> scale: batch_norm(init=zeros())
    return mean(x, axis=[2, 3]) + mean(y, axis=[2, 3])
}
plan deep = net()
"""


@pytest.mark.parametrize("label", ["units.14.conv", "last"])
def test_weights_are_drawn_that_show_differences(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that reads something else is seen behind a scale that starts at zero, and deep in a network."""
    from planform.api.compare import compare
    from planform.backends.torch.arrays import source_weights
    from planform.backends.torch.telling import telling_weights
    from planform.backends.tvm.runtime import compiled

    def wrong(build: Any, weights: dict[str, Any], about: Any = None) -> Any:
        changed = {name: -x if name == f"{label}.weight" else x for name, x in weights.items()}
        assert f"{label}.weight" in weights
        return honest(build, changed, about)

    honest = compiled.with_weights
    model = Model(PlanFile.from_text(DEEP, "deep.plan"), "deep", {}, {"B": 1})
    x = torch.randn(1, 8, 9, 9, generator=torch.Generator().manual_seed(0))
    program = model.file.program("deep", model.bindings, None, ("eval",))
    telling = telling_weights(program, [x])
    assert all(float(w.abs().max()) > 0 for path, w in telling.items() if "num_batches" not in path)
    assert compare(model, "torch", "tvm", telling, [x]).ok
    monkeypatch.setattr(compiled, "with_weights", wrong)
    assert compare(model, "torch", "tvm", source_weights(program, seed=0), [x]).ok  # they hide it
    assert compare(model, "torch", "tvm", telling, [x]).results[0].error > 0.05
