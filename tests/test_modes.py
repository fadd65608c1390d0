"""Modes one at a time: what training refuses can still be evaluated, and errors say which mode they hold in."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import planform
from planform.backends.torch import InputError, ModeError
from planform.backends.torch.weights import bind
from planform.cli.app import run as run_command_line

# The last norm sees one value per channel at B=1, and so does the head that serves training alone.
NORMS = """planform 1

model net(image: [B, 3, H, W]) {
    x = image -> stem: conv(8, 3, pad=1) -> bn: batch_norm() -> relu()
    x = x -> mean([2, 3]) -> norm: batch_norm()
    y = x -> head: linear(4)
    if mode == train {
        return y, x -> aux: linear(5) -> aux_norm: batch_norm()
    }
    return y
}

plan small = net()
"""
AT_ONE = NORMS.replace("= net()", "= net() at (B=1, H=6, W=6)")
REASON = "train mode refuses `norm: batch_norm`: the number of values of a channel is 1"


class Small(nn.Module):
    """The same network by hand, in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn, self.norm = nn.BatchNorm2d(8), nn.BatchNorm1d(8)
        self.head, self.aux, self.aux_norm = nn.Linear(8, 4), nn.Linear(8, 5), nn.BatchNorm1d(5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.stem(image)).relu().mean((2, 3))
        return self.head(self.norm(x))


def model(text: str = AT_ONE) -> planform.Model:
    return planform.Model(planform.PlanFile.from_text(text), "small", {})


def reference() -> tuple[Small, torch.Tensor, torch.Tensor]:
    """The network by hand with statistics of its own, an input, and its result in float64."""
    torch.manual_seed(1)
    made = Small().double()
    for norm in (made.bn, made.norm):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    image = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        return made, image, made.eval()(image)


def test_evaluation_alone_runs_everywhere(tmp_path: Path) -> None:
    byhand, image, wanted = reference()
    module = model().to_torch(dtype=torch.float64, state_dict=byhand.state_dict()).eval()
    torch.testing.assert_close(module(image), wanted)
    assert set(module.state_dict()) == set(byhand.state_dict())
    deployed = model().to_torch(mode="deploy", dtype=torch.float64, state_dict=byhand.state_dict())
    torch.testing.assert_close(deployed(image), wanted)
    (tmp_path / "emitted.py").write_text(model().to_source(), encoding="utf-8")
    emitted = loaded(tmp_path / "emitted.py").Small().double().eval()
    emitted.load_state_dict(byhand.state_dict())
    torch.testing.assert_close(emitted(image), wanted)
    with pytest.raises(RuntimeError, match=REASON):
        emitted.train()(image)
    assert model().memory().size > 0
    assert len(list(model().graph.operators())) == 6
    assert model().cost().params == 3 * 8 * 9 + 2 * 8 + 2 * 8 + 8 * 4 + 4
    assert model().cost("deploy").params == 3 * 8 * 9 + 8 + 8 * 4 + 4


def loaded(path: Path) -> ModuleType:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_call_in_a_refused_mode_says_why() -> None:
    module = model().to_torch()
    image = torch.zeros(1, 3, 6, 6)
    with pytest.raises(ModeError, match=rf"small has no train mode at these sizes: {REASON}.*text.plan:5:36"):
        module(image)
    assert module.eval()(image).shape == (1, 4)
    with pytest.raises(planform.PlanError, match="E508"):
        model().graph_in("train")
    import copy
    import pickle

    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        with pytest.raises(ModeError, match=REASON):
            again.train()(image)


def test_a_free_batch_is_refused_in_train_mode_alone() -> None:
    module = model(NORMS).to_torch()
    image = torch.zeros(1, 3, 6, 6)
    with pytest.raises(InputError, match=r"small in train mode: .*values of a channel.* B = 1"):
        module(image)
    assert module.eval()(image).shape == (1, 4)


def test_weights_of_training_are_known_at_sizes_that_refuse_it() -> None:
    program = model().program
    assert list(program.graphs) == ["eval"] and list(program.refused) == ["train"]
    assert program.weights["aux.weight"].type.shape == (5, 8)
    assert bind(program, Small().state_dict()).ok


def test_check_warns_and_is_fine() -> None:
    report = model().check()
    assert report.ok
    (found,) = {each.code: each for each in report.diagnostics}.values()
    assert found.severity == "warning" and found.code == "W905"
    assert found.message.startswith(f"`small` is for evaluation alone at these sizes: {REASON}")
    assert model(NORMS).check().diagnostics == ()
    # A literal size is no other than a bound one.
    written = planform.PlanFile.from_text(NORMS.replace("[B, 3", "[1, 3")).check()
    assert written.ok and {each.code for each in written.diagnostics} == {"W905"}


def test_a_claim_in_the_refused_mode_fails() -> None:
    claims = 'claim small: params == 284\nclaim small: params(mode="train") == 339\n'
    report = planform.PlanFile.from_text(AT_ONE + claims).check()
    assert [(claim.ok, claim.got) for claim in report.claims] == [(True, 284), (False, None)]
    assert not report.ok and "E508" in {each.code for each in report.diagnostics}


def test_an_auxiliary_head_that_small_images_leave_nothing_of() -> None:
    # In train mode alone a window of 5 slides over what is left; 284 + 8 * 2 * 25 = 684 with the head.
    text = NORMS.replace("return y, x -> aux: linear(5) -> aux_norm: batch_norm()", "return y, z")
    text = text.replace(
        "    x = x -> mean", "    z = image -> aux: conv(2, 5) when mode == train\n    x = x -> mean"
    )
    text = text.replace("= net()", "= net() at (B=2, H=4, W=4)")
    file = planform.PlanFile.from_text(text)
    report = file.check()
    assert report.ok and [each.code for each in report.diagnostics] == ["W905"]
    assert "aux.weight" in model(text).program.weights
    assert model(text).to_torch().eval()(torch.zeros(2, 3, 4, 4)).shape == (2, 4)


@pytest.mark.parametrize(
    ("body", "code", "note"),
    [
        ("if mode == train {\n        return nothing\n    }\n    return x", "E101", "in train mode only"),
        ("if mode == eval {\n        return x @ x\n    }\n    return x", "E301", "in eval mode only"),
        ("return x @ x", "E301", None),
        ("y = relu(x)\n    return missing", "E101", None),
    ],
)
def test_errors_say_which_mode_they_hold_in(body: str, code: str, note: str | None) -> None:
    file = planform.PlanFile.from_text(
        f"planform 1\n\nmodel net(x: [B, 3, 5]) {{\n    {body}\n}}\n\nplan p = net() at (B=1)\n"
    )
    (found,) = file.check().diagnostics
    assert found.code == code and found.severity == "error"
    assert [line for line in found.notes if "mode" in line] == ([note] if note else [])


def test_a_mistake_in_training_is_no_refusal() -> None:
    text = NORMS.replace("aux: linear(5)", "aux: linaer(5)")
    for bound in (text, text.replace("= net()", "= net() at (B=4)")):
        assert not planform.PlanFile.from_text(bound).check().ok
        with pytest.raises(planform.PlanError, match="E101"):
            _ = model(bound).program
        # Evaluation does not read it.
        assert len(list(model(bound).graph.operators())) == 6


def test_a_weight_has_one_type_in_both_modes() -> None:
    head = "if mode == train {\n        return x -> fc: linear(4)\n    }\n    return x -> fc: linear(5)"
    file = planform.PlanFile.from_text(
        f"planform 1\n\nmodel net(x: [B, 3]) {{\n    {head}\n}}\n\nplan p = net()\n"
    )
    found = file.check().diagnostics
    assert [each.code for each in found] == ["E509"]
    assert found[0].message == "the weight `fc.weight` is [5, 3] in eval mode and [4, 3] in train mode"


COMMANDS = {
    "run": "",
    "memory": "",
    "deploy": "",
    "fuse": "",
    "cost": "",
    "graph": "",
    "cost --mode deploy": "",
    "compile --mode deploy": "",
    "compile": "class Small",
    "compile --emit graph": "batch_norm",
    "compile --emit fx": "def forward",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_at_a_batch_of_one(command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "small.plan").write_text(NORMS, encoding="utf-8")
    name, *rest = command.split()
    path = str(tmp_path / "small.plan")
    assert run_command_line([name, path, *rest, "--at", "B=1,H=6,W=6"]) == 0, capsys.readouterr().err
    assert COMMANDS[command] in capsys.readouterr().out
    if name in ("cost", "graph") or command == "compile":
        assert run_command_line([name, path, "--mode", "train", "--at", "B=1,H=6,W=6"]) == 1
        assert REASON in capsys.readouterr().err


def test_kernels_of_a_batch_of_one_take_a_checkpoint_with_weights_of_training(tmp_path: Path) -> None:
    byhand, image, wanted = reference()
    (tmp_path / "small.plan").write_text(NORMS, encoding="utf-8")
    torch.save(byhand.state_dict(), tmp_path / "small.pt")
    arguments = ["compile", str(tmp_path / "small.plan"), "--to", "tvm", "--at", "B=1,H=6,W=6"]
    output = str(tmp_path / "small.plank")
    assert run_command_line([*arguments, "-w", str(tmp_path / "small.pt"), "-o", output]) == 0
    torch.testing.assert_close(planform.load_compiled(output)(image.float()), wanted.float())


@pytest.mark.parametrize("name", ["osnet_x0_25", "deeplabv3_resnet50", "inception_v3"])
def test_networks_of_the_atlas_at_a_batch_of_one(name: str) -> None:
    found = planform.load(name, at={"B": 1, "H": 96, "W": 96})
    program = found.program
    assert list(program.graphs) == ["eval"]
    free = planform.load(name).program
    assert {p: w.type for p, w in program.weights.items()} == {p: w.type for p, w in free.weights.items()}
    assert found.memory().size > 0


def test_a_file_is_opened_by_text_or_path(tmp_path: Path) -> None:
    (tmp_path / "small.plan").write_text(NORMS, encoding="utf-8")
    for path in (tmp_path / "small.plan", str(tmp_path / "small.plan")):
        assert planform.PlanFile(path).plan() == "small"
    with pytest.raises(FileNotFoundError, match=r"PlanFile.from_text\(text\) takes a text"):
        planform.PlanFile(NORMS)
    with pytest.raises(FileNotFoundError, match=r"missing\.plan"):
        planform.PlanFile(str(tmp_path / "missing.plan"))


@pytest.mark.parametrize("name", ["tvm.py", "tvm_ffi.py", "tvm/__init__.py"])
def test_a_file_of_the_name_of_tvm_is_named(name: str, tmp_path: Path) -> None:
    import subprocess
    import sys

    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("x = 1\n", encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from planform.backends.tvm.runtime.libraries import ffi\n"
        "from planform.backends.tvm.errors import BuildError\n"
        "try:\n    ffi()\nexcept BuildError as error:\n    print(error.code, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    package = name.split("/", maxsplit=1)[0].removesuffix(".py")
    assert done.stdout == f"E709 `import {package}` finds {file}, which is not TVM\n", done.stderr
