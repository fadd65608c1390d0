"""The command line: exit codes, JSON, and a diagnostic for everything that can go wrong."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from planform.cli.app import run as run_command_line

ROOT = Path(__file__).resolve().parent.parent
GOOD = """planform 1
about { title = "Small", input = {size = 8} }
model net(image: [B, 3, H, W], width: int = 4) -> [B, 10] {
    return image -> stem: conv(width, 3) -> relu() -> mean(axis=[2, 3]) -> head: linear(10)
}
plan small = net()
plan wide = net(width=8)
claim small: params == 158
"""
# 3 * 9 * 4 + 4 * 10 + 10 = 158 by hand; the products of stem and head at 8 x 8:
SMALL_MACS = 6 * 6 * 3 * 9 * 4 + 4 * 10
WRONG = GOOD.replace("return image", "return imagine").replace("158", "159")


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in a folder that holds `good.plan` and `wrong.plan`; fails on a traceback."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "PLANFORM_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "good.plan").write_text(GOOD, encoding="utf-8")
    (tmp_path / "wrong.plan").write_text(WRONG, encoding="utf-8")

    def command(*arguments: str) -> Done:
        code = run_command_line(list(arguments))
        captured = capsys.readouterr()
        done = Done(code, str(captured.out), str(captured.err))
        assert "Traceback" not in done.out + done.err
        return done

    return command


# ---------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("check good.plan", 0),
        ("check good.plan:small", 0),
        ("check wrong.plan", 1),
        ("check good.plan wrong.plan", 1),
        ("check good.plan:medium", 1),
        ("check missing.plan", 2),
        ("check wrong.plan missing.plan", 2),
        ("check no_such_network", 2),
        ("check", 2),
        ("check good.plan --loud", 2),
        ("nonsense", 2),
        ("cost good.plan", 0),
        ("cost good.plan --at B=1,H=8,W=8", 0),
        ("cost good.plan --at Z=1", 1),
        ("cost good.plan --at H=", 2),
        ("cost good.plan --at H=-1", 2),
        ("cost good.plan --at 8", 2),
        ("cost good.plan --set width=3", 0),
        ("cost good.plan --set width=2+2", 0),
        ("cost good.plan --set width=[", 2),
        ("cost good.plan --set breadth=3", 1),
        ("cost good.plan --set width=0.5", 1),
        ("cost good.plan --depth 0", 2),
        ("cost good.plan --by colour", 2),
        ("cost wrong.plan", 1),
        ("graph good.plan", 0),
        ("graph good.plan --format dot", 0),
        ("graph good.plan --format png", 2),
        ("graph good.plan -o missing/folder.svg", 2),
        ("compile good.plan --emit graph", 0),
        ("run good.plan --weights missing.safetensors", 2),
        ("run good.plan --input missing.png", 2),
        ("run good.plan --input good.plan", 1),
        ("list", 0),
        ("list resnet", 0),
        ("explain E101", 0),
        ("explain e101", 0),
        ("explain E999", 2),
        ("fmt missing.plan", 2),
        ("version", 0),
        ("weights bind good.plan missing.pt", 2),
        ("weights bind good.plan good.plan", 1),
        ("--help", 0),
        ("cost --help", 0),
    ],
)
def test_exit_codes(run: Run, arguments: str, code: int) -> None:
    done = run(*arguments.split())
    assert done.code == code, done
    assert code == 0 or done.err.strip()


def test_claims_are_printed_with_derived_figures(run: Run) -> None:
    done = run("check", "good.plan")
    assert done.out.splitlines() == [
        "good.plan: ok (2 plans, 1 claim)",
        "  ✓ small: params == 158  158",
        "  needs H >= 3 (what the kernel leaves of axis 2, good.plan:4)",
        "  needs W >= 3 (what the kernel leaves of axis 3, good.plan:4)",
    ]


def test_diagnostics_go_to_stderr(run: Run) -> None:
    done = run("check", "wrong.plan")
    assert "error[E101]: `imagine` is not defined" in done.err
    assert "help: did you mean `image`" in done.err
    assert "error" not in done.out and "not ok" in done.out


def test_a_wrong_claim_is_shown_with_its_figure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.plan").write_text(GOOD.replace("158", "159"), encoding="utf-8")
    done = run("check", "good.plan")
    assert done.code == 1
    assert "error[E601]: small: params is 158, and the claim says == 159" in done.err
    assert "✗ small: params == 159  158" in done.out


def test_the_only_file_of_a_name_is_found_in_the_atlas(run: Run) -> None:
    assert run("check", "resnet50").code == 0
    done = run("check", "resnet5O")
    assert done.code == 2
    assert "did you mean `resnet50`" in done.err


# ---------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize("command", ["check", "cost", "graph", "run", "fmt", "compile"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is a directory"),
        (b"planform 1\n# caf\xe9\n", "is not UTF-8 text: byte 16 is 0xe9"),
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "is not UTF-8 text"),
        (b"#" * (5 << 20), "larger than"),
    ],
    ids=["directory", "latin-1", "binary", "huge"],
)
def test_unreadable_files(
    run: Run, tmp_path: Path, command: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / "odd.plan"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    done = run(command, "odd.plan")
    assert done.code == 2
    assert message in done.err
    assert "odd.plan" in done.err


def test_zero_bytes_are_a_diagnostic(run: Run, tmp_path: Path) -> None:
    (tmp_path / "zeros.plan").write_bytes(b"\0" * 100)
    done = run("check", "zeros.plan")
    assert done.code == 1
    assert "error[E0" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "width=2**2**2**99"], 2, "--set width=2**2**2**99: a number grows past 2**63"),
        (["--set", "width=[1, 1 // 0]"], 2, "division by zero"),
        (["--at", "B=-1"], 2, "must be an int of at least 0, and is -1"),
    ],
)
def test_numbers_that_make_no_sense(run: Run, arguments: list[str], code: int, said: str) -> None:
    done = run("cost", "good.plan", *arguments)
    assert done.code == code and said in done.err


def test_figures_past_the_limit_are_an_error(run: Run, tmp_path: Path) -> None:
    """Each tensor is small enough, and 2**72 products are not."""
    (tmp_path / "huge.plan").write_text(
        "planform 1\nmodel net(x: [N, N]) {\n    return x @ x\n}\nplan p = net() at (N=2**24)\n",
        encoding="utf-8",
    )
    done = run("cost", "huge.plan")
    assert done.code == 1 and "a figure is too large: a size exceeds 2**63" in done.err


def test_streams_that_the_caller_closed() -> None:
    for redirect, code in ((">&-", 0), ("2>&-", 0), (">&- 2>&-", 0)):
        line = f"{sys.executable} -m planform version {redirect}"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=ROOT.parent)
        assert (done.returncode, done.stderr) == (code, "")


def test_a_file_that_cannot_be_made_is_named(run: Run) -> None:
    done = run("graph", "good.plan", "-o", "missing/folder.svg")
    assert "missing/folder.svg: no such file or directory" in done.err


def test_too_little_memory_is_said(run: Run) -> None:
    done = run("run", "good.plan", "--at", "B=6*10**4,H=2**15,W=2**15")
    assert done.code == 1 and "the memory does not suffice" in done.err


def test_a_file_that_refuses_to_be_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied", "good.plan")

    monkeypatch.setattr("planform.dsl.loader.read_text", refuse)
    done = run("check", "good.plan")
    assert (done.code, done.err) == (2, "error: good.plan: permission denied\n")


# ---------------------------------------------------------------- interruptions and faults


def planform(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "planform", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite started in the background hands down that interruptions are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    process = planform("cost", "resnet50", "--json", cwd=tmp_path)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == ""


def test_an_interruption(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import planform.api.model

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(planform.api.model.PlanFile, "check", interrupt)
    done = run("check", "good.plan")
    assert (done.code, done.err) == (130, "error: interrupted\n")


def test_an_interruption_from_outside(tmp_path: Path) -> None:
    # A pipe that is read no further than its beginning: writing waits until the signal comes.
    process = planform("list", "--json", cwd=tmp_path)
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    assert process.stdout.read(1) == "["
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "error: interrupted\n"


def test_a_fault_of_ours_is_named_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import planform.api.model

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("half of nothing")

    monkeypatch.setattr(planform.api.model.PlanFile, "check", fail)
    done = run("check", "good.plan")
    assert done.code == 70
    assert "internal error: ZeroDivisionError: half of nothing" in done.err
    done = run("check", "good.plan", "--json")
    assert done.json["error"] == "internal error: ZeroDivisionError: half of nothing"


# ---------------------------------------------------------------- JSON


def test_check_json(run: Run) -> None:
    good, wrong = run("check", "good.plan", "--json"), run("check", "wrong.plan", "good.plan", "--json")
    assert good.json["planform_json"] == 1
    assert good.json["ok"] is True and good.json["diagnostics"] == []
    (claim,) = good.json["claims"]
    assert (claim["plan"], claim["got"], claim["wanted"], claim["ok"]) == ("small", 158, 158, True)
    assert (claim["file"], claim["line"]) == ("good.plan", 8)
    assert wrong.code == 1 and wrong.err == "" and wrong.json["ok"] is False
    (found,) = wrong.json["diagnostics"]
    assert (found["code"], found["file"], found["line"], found["column"]) == ("E101", "wrong.plan", 4, 12)
    assert [each["ok"] for each in wrong.json["files"]] == [False, True]


def test_cost_json(run: Run) -> None:
    found = run("cost", "good.plan", "--at", "B=2,H=8", "--at", "W=8", "--json").json
    keys = {
        "planform_json",
        "plan",
        "mode",
        "bindings",
        "params",
        "macs",
        "flops",
        "activations",
        "bytes",
        "rows",
    }
    assert keys <= set(found)
    assert (found["plan"], found["bindings"]) == ("small", {"B": 2, "H": 8, "W": 8})
    assert (found["params"], found["macs"]) == (158, 2 * SMALL_MACS)
    assert [row["op"] for row in found["rows"]] == ["conv", "relu", "mean", "linear"]
    formula = run("cost", "good.plan:wide", "--json").json
    assert formula["plan"] == "wide" and formula["bindings"] == {}
    assert eval(formula["macs"], {"B": 2, "H": 8, "W": 8}) == 2 * (6 * 6 * 3 * 9 * 8 + 8 * 10)


def test_a_parameter_is_set_by_an_expression(run: Run) -> None:
    found = run("cost", "good.plan", "--at", "B=1,H=8,W=8", "--set", "width=2 * 4", "--json").json
    assert found["macs"] == 6 * 6 * 3 * 9 * 8 + 8 * 10


def test_list_json_is_an_array(run: Run) -> None:
    found = run("list", "--json").json
    assert isinstance(found, list)
    assert all(set(plan) == {"plan", "file", "atlas", "title"} for plan in found)
    (resnet,) = [plan for plan in found if plan["plan"] == "resnet50"]
    assert resnet["title"] == "Deep Residual Learning for Image Recognition"
    assert (ROOT / resnet["file"]).is_file()
    some = run("list", "RESNET", "--json").json
    assert resnet in some and len(some) < len(found)
    assert run("list", "no such network", "--json").json == []


def test_list_agrees_with_the_parser(run: Run) -> None:
    from planform.api.locate import EXAMPLES, examples
    from planform.api.plan_file import PlanFile

    wanted = []
    for path in examples():
        file = PlanFile(path)
        about = file.scope.about
        texts = {key: about[key] if isinstance(about.get(key), str) else None for key in ("atlas", "title")}
        shown = path.relative_to(EXAMPLES.parent).as_posix()
        wanted += [{"plan": plan, "file": shown, **texts} for plan in file.plans]
    assert run("list", "--json").json == wanted


def test_graph_json(run: Run) -> None:
    found = run("graph", "good.plan", "--json", "--at", "B=1,H=8,W=8").json
    assert found["planform_json"] == 1
    assert [box["title"] for box in found["boxes"]] == ["image", "conv", "relu", "mean", "linear", "result"]
    assert {"source": 1, "target": 2, "types": ["[1, 4, 6, 6]"]} in found["edges"]


def test_other_json(run: Run) -> None:
    explained = run("explain", "E101", "--json").json
    assert {"planform_json", "code", "message", "explanation", "bad"} <= set(explained)
    assert {"planform_json", "planform", "language"} <= set(run("version", "--json").json)
    compiled = run("compile", "good.plan", "--emit", "graph", "--json").json
    assert {"planform_json", "plan", "emit", "file", "text"} <= set(compiled)
    assert compiled["text"].startswith("graph small(")
    formatted = run("fmt", "--check", "good.plan", "--json")
    assert {"planform_json", "ok", "files", "diagnostics"} <= set(formatted.json)


@pytest.mark.parametrize(
    "arguments", ["cost wrong.plan", "cost missing.plan", "explain E999", "run wrong.plan"]
)
def test_failures_in_json(run: Run, arguments: str) -> None:
    done = run(*arguments.split(), "--json")
    assert done.json["ok"] is False and done.json["planform_json"] == 1
    assert done.json["diagnostics"] or done.json["error"]
    assert done.err == ""


# ---------------------------------------------------------------- explain


def test_every_code_is_explained(run: Run) -> None:
    from planform.dsl.codes import CODES

    for code, entry in CODES.items():
        done = run("explain", code)
        assert done.code == 0
        assert entry.explanation in done.out
        if entry.bad and not code.startswith("E7"):
            assert re.search(rf"(error|warning)\[{code}\]", done.out), code


# ---------------------------------------------------------------- graph, compile, fmt: files


def test_results_are_written_to_files(run: Run, tmp_path: Path) -> None:
    assert run("graph", "good.plan", "--format", "svg", "-o", "net.svg").out == ""
    assert (tmp_path / "net.svg").read_text(encoding="utf-8").startswith("<svg")
    assert run("compile", "good.plan", "--emit", "fx", "-o", "net.txt").code == 0
    assert "def forward(self, image)" in (tmp_path / "net.txt").read_text(encoding="utf-8")


def test_source_needs_torch_alone(run: Run, tmp_path: Path) -> None:
    assert run("compile", "good.plan", "-o", "net.py").code == 0
    text = (tmp_path / "net.py").read_text(encoding="utf-8")
    assert "import torch" in text and not re.search(r"^\s*(from|import) planform", text, re.MULTILINE)
    compile(text, "net.py", "exec")


def test_fmt_is_idempotent_and_checks(run: Run, tmp_path: Path) -> None:
    loose = GOOD.replace("plan small = net()", "plan    small=net( )")
    (tmp_path / "loose.plan").write_text(loose, encoding="utf-8")
    (tmp_path / "loose.plan").chmod(0o640)
    assert run("fmt", "--check", "loose.plan").code == 1
    assert (tmp_path / "loose.plan").read_text(encoding="utf-8") == loose
    assert run("fmt", "loose.plan").code == 0
    formatted = (tmp_path / "loose.plan").read_text(encoding="utf-8")
    assert re.search(r"^plan small += net\(\)$", formatted, re.MULTILINE)
    assert (tmp_path / "loose.plan").stat().st_mode & 0o777 == 0o640
    assert run("fmt", "--check", "loose.plan").code == 0
    assert run("fmt", "loose.plan").out == ""


def test_fmt_never_leaves_half_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    loose = GOOD.replace("plan small", "plan   small")
    (tmp_path / "loose.plan").write_text(loose, encoding="utf-8")
    monkeypatch.setattr(os, "replace", refuse)
    done = run("fmt", "loose.plan")
    assert done.code == 2 and "no space left on device" in done.err
    assert (tmp_path / "loose.plan").read_text(encoding="utf-8") == loose
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.plan", "loose.plan", "wrong.plan"]


def test_fmt_leaves_wrong_files_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.plan").write_text("planform 1\nplan = (\n", encoding="utf-8")
    done = run("fmt", "broken.plan")
    assert done.code == 1 and "error[E" in done.err
    assert (tmp_path / "broken.plan").read_text(encoding="utf-8") == "planform 1\nplan = (\n"


def test_fmt_follows_links(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loose.plan").write_text(GOOD.replace("plan small", "plan   small"), encoding="utf-8")
    (tmp_path / "link.plan").symlink_to("loose.plan")
    assert run("fmt", "link.plan").code == 0
    assert (tmp_path / "link.plan").is_symlink()
    assert run("fmt", "--check", "loose.plan").code == 0


# ---------------------------------------------------------------- run and weights


def test_run_on_random_numbers(run: Run) -> None:
    done = run("run", "good.plan", "--json")
    assert done.json["inputs"] == {"image": {"shape": [1, 3, 8, 8], "dtype": "float32"}}
    assert done.json["outputs"] == {"result": {"shape": [1, 10], "dtype": "float32"}}
    assert done.json["seconds"] > 0
    other = run("run", "good.plan", "--at", "B=2,H=5,W=7", "--json")
    assert other.json["inputs"]["image"]["shape"] == [2, 3, 5, 7]


def test_run_names_sizes_that_are_not_known(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bare.plan").write_text(GOOD.replace(", input = {size = 8}", ""), encoding="utf-8")
    done = run("run", "bare.plan")
    assert done.code == 2
    assert "--at H=...,W=..." in done.err


def test_an_image_with_weights(run: Run, tmp_path: Path) -> None:
    import numpy
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    pixels = numpy.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    generator = torch.Generator().manual_seed(0)
    stem, head, bias = (torch.randn(s, generator=generator) for s in ((4, 3, 3, 3), (10, 4), (10,)))
    save_file({"stem.weight": stem, "head.weight": head, "head.bias": bias}, tmp_path / "w.safetensors")
    (tmp_path / "labels.txt").write_text("\n".join("abcdefghij"), encoding="utf-8")
    options = ["--weights", "w.safetensors", "--input", "image.png", "--labels", "labels.txt", "--top", "3"]
    done = run("run", "good.plan", *options, "--json")
    image = torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255
    features = torch.nn.functional.conv2d(image, stem).relu().mean((2, 3))
    wanted = torch.nn.functional.linear(features, head, bias).softmax(1)[0].topk(3)
    assert [found["index"] for found in done.json["classes"]] == wanted.indices.tolist()
    assert [found["label"] for found in done.json["classes"]] == ["abcdefghij"[at] for at in wanted.indices]
    got = [found["probability"] for found in done.json["classes"]]
    assert got == pytest.approx(wanted.values.tolist(), rel=1e-5)
    assert "random" not in run("run", "good.plan", *options).err
    assert "weights are random" in run("run", "good.plan", "--input", "image.png").err


def test_a_checkpoint_that_does_not_fit(run: Run, tmp_path: Path) -> None:
    import torch

    torch.save({"stem.weight": torch.zeros(4, 3, 3, 3), "fc.weight": torch.zeros(10, 4)}, tmp_path / "w.pt")
    done = run("weights", "bind", "good.plan", "w.pt", "--json")
    assert done.code == 1
    assert done.json["missing"] == ["head.weight", "head.bias"] and done.json["extra"] == ["fc.weight"]
    assert run("run", "good.plan", "--weights", "w.pt").code == 1
    done = run("run", "good.plan", "--weights", "w.pt", "--json")
    assert done.err == "" and "missing: head.bias" in done.json["help"]
    (tmp_path / "map").write_text("fc -> head", encoding="utf-8")
    assert run("weights", "bind", "good.plan", "w.pt", "--rename", "map", "--json").json["missing"] == [
        "head.bias"
    ]


def test_a_renamed_checkpoint_is_written(run: Run, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    held = {"stem.weight": torch.ones(4, 3, 3, 3), "fc.weight": torch.ones(10, 4), "fc.bias": torch.ones(10)}
    torch.save(held, tmp_path / "w.pt")
    (tmp_path / "map").write_text("fc -> head", encoding="utf-8")
    done = run("weights", "bind", "good.plan", "w.pt", "--rename", "map", "-o", "w.safetensors")
    assert done.code == 0 and "ok (3 bound)" in done.out
    assert set(load_file(tmp_path / "w.safetensors")) == {"stem.weight", "head.weight", "head.bias"}
    assert run("run", "good.plan", "--weights", "w.safetensors").code == 0


@pytest.mark.parametrize(
    ("size", "crop", "interpolation"),
    [
        ((500, 375), 0.875, "bicubic"),
        ((375, 500), 0.9, "bilinear"),
        ((64, 64), 1.0, "bicubic"),
        ((61, 90), 0.95, "bicubic"),
    ],
)
def test_images_are_prepared_as_timm_does(
    timm: ModuleType, tmp_path: Path, size: tuple[int, int], crop: float, interpolation: str
) -> None:
    import numpy
    from PIL import Image
    from timm.data.transforms_factory import create_transform

    from planform.api.images import ImageInput

    pixels = numpy.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    transform: Any = create_transform(224, interpolation=interpolation, mean=mean, std=std, crop_pct=crop)
    wanted = transform(Image.open(tmp_path / "image.png"))[None].numpy()
    spec = ImageInput((224, 224), mean, std, crop, interpolation)
    got = spec.read(tmp_path / "image.png", (224, 224), 3)
    numpy.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "about",
    [
        "input = 224",
        "input = {}",
        "input = {size = 0}",
        "input = {size = 8, crop = 2}",
        "input = {size = 8, std = 0}",
        'input = {size = 8, interpolation = "fractal"}',
        "input = {size = 8, colour = 1}",
    ],
)
def test_inputs_that_make_no_sense(run: Run, tmp_path: Path, about: str) -> None:
    (tmp_path / "odd.plan").write_text(GOOD.replace("input = {size = 8}", about), encoding="utf-8")
    done = run("run", "odd.plan")
    assert done.code == 1 and "`input" in done.err


# ---------------------------------------------------------------- what is loaded, and colours


def loaded_by(*arguments: str, cwd: Path) -> set[str]:
    """The top-level modules that a command loads."""
    code = f"import sys; from planform.__main__ import main; main({list(arguments)!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=cwd)
    return {name.partition(".")[0] for name in done.stderr.split()}


HEAVY = {"torch", "tvm", "sympy", "lark", "networkx", "numpy", "rich", "PIL", "safetensors", "pydantic"}
BOUND = GOOD.replace("plan small = net()\nplan wide = net(width=8)", "plan small = net() at (B=1, H=8, W=8)")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("--help", set()),
        ("version", {"lark"}),
        ("list", {"lark"}),
        ("fmt --check bound.plan", {"lark"}),
        ("check bound.plan", {"lark"}),
        ("check resnet50", {"lark"}),
        ("cost bound.plan --json", {"lark"}),
        ("cost bound.plan", {"lark", "rich"}),
        ("memory bound.plan", {"lark", "rich"}),
        ("graph bound.plan", {"lark"}),
        ("deploy bound.plan", {"lark"}),
        ("fuse bound.plan --what-if", {"lark"}),
        ("weights list bound.plan", {"lark"}),
    ],
)
def test_a_command_loads_what_it_needs(line: str, wanted: set[str], tmp_path: Path) -> None:
    (tmp_path / "bound.plan").write_text(BOUND, encoding="utf-8")
    assert loaded_by(*line.split(), cwd=tmp_path) & HEAVY == wanted


def test_colours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033[" not in run("check", "wrong.plan").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    painted = run("check", "wrong.plan").err
    assert "\033[1;31merror[E101]:\033[0m" in painted
    assert "\033[" in run("cost", "good.plan").out and "\033[" in run("graph", "good.plan").out
    monkeypatch.setenv("NO_COLOR", "1")
    plain = run("check", "wrong.plan").err
    assert plain == re.sub(r"\033\[[\d;]*m", "", painted)


def test_a_scan_of_free_length_names_the_size(run: Run, tmp_path: Path) -> None:
    (tmp_path / "steps.plan").write_text(
        "planform 1\nuse std (gru_cell)\nmodel net(x: [B, T, 4]) {\n"
        "    y, h = (x, zeros([B, 4])) -> rnn: scan(gru_cell(), axis=1)\n    return y\n}\nplan steps = net()\n",
        encoding="utf-8",
    )
    done = run("compile", "steps.plan")
    assert done.code == 1 and "the scan at rnn has T steps; bind the size" in done.err
    assert run("compile", "steps.plan", "--at", "T=3").code == 0
