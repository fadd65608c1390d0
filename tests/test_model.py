"""What a plan becomes is made once, whoever asks, and at the sizes in force."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import planform
from planform.__main__ import main
from planform.api import plan_file
from planform.backends.torch import deploy as torch_deploy
from planform.compiler.graph.graph import Graph
from planform.compiler.graph.program import Program
from planform.compiler.rewriting import pipeline
from planform.dsl.elaborate import Elaboration
from planform.dsl.values import BlockValue, key_of

TEXT = """planform 1

block thin(x: [B, C, H, W], c) {
    return x -> conv: conv(c, 1)
}

model network(x: [B, 3, H, W], width = 4, body = thin(c=2)) {
    x = x -> stem: conv(width, 3, pad=1) -> bn: batch_norm() -> relu() -> body: body()
    return x -> mean([2, 3]) -> head: linear(2)
}

plan net = network() at (B=2, H=8, W=8)
claim net: params == 130
claim net: params(mode=deploy) == 126
claim net: macs == 14_856
"""
SIZES = {"B": 2, "H": 8, "W": 8}


class Counts:
    """How often each graph was elaborated, by plan, mode and sizes; and deployed."""

    def __init__(self) -> None:
        self.elaborations: Counter[tuple[str, str, str]] = Counter()
        self.deployments = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    made = Counts()
    elaborate, deploy = Elaboration.model, pipeline.deploy

    def elaborated(
        run: Elaboration, plan: BlockValue, bindings: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> Graph:
        made.elaborations[plan.plan or "", run.mode, str(sorted(bindings.items()))] += 1
        return elaborate(run, plan, bindings, overrides)

    def deployed(program: Program, check: bool = False) -> pipeline.Deployed:
        made.deployments += 1
        return deploy(program, check)

    monkeypatch.setattr(Elaboration, "model", elaborated)
    monkeypatch.setattr(pipeline, "deploy", deployed)
    monkeypatch.setattr(torch_deploy, "deploy", deployed)
    return made


# Each command, the modes that it elaborates, and how often it deploys.
COMMANDS = [
    ("check {}", ("eval", "train"), 1),
    ("cost {}", ("eval",), 0),
    ("cost {} --mode train --at B=4", ("train",), 0),
    ("cost {} --mode deploy", ("eval",), 1),
    ("memory {}", ("eval",), 0),
    ("graph {}", ("eval",), 0),
    ("graph {} --mode deploy", ("eval",), 1),
    ("fuse {}", ("eval",), 1),
    ("fuse {} --what-if", ("eval",), 1),
    ("deploy {}", ("eval",), 1),
    ("compile {}", ("eval", "train"), 0),
    ("compile {} --mode deploy", ("eval",), 1),
    ("compile {} --mode deploy --emit fx", ("eval", "train"), 1),
    ("compile {} --emit graph", ("eval",), 0),
    ("compile {} --to tvm --emit graph", ("eval",), 1),
    ("compile {} --to tvm --emit tir", ("eval",), 1),
    ("compile {} --to tvm -o net.plank --no-cache", ("eval",), 1),
    ("run {}", ("eval", "train"), 0),
    ("compare {} --b deploy", ("eval",), 1),
    ("weights list {}", ("eval", "train"), 0),
]


@pytest.mark.parametrize(("line", "modes", "deployments"), COMMANDS, ids=[line for line, *_ in COMMANDS])
def test_a_command_elaborates_each_mode_once_and_deploys_once(
    line: str,
    modes: tuple[str, ...],
    deployments: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    counts: Counts,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "net.plan").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    code = main(shlex.split(line.format("net.plan")))
    assert code == 0, capsys.readouterr().err
    assert max(counts.elaborations.values()) == 1
    assert {mode for _, mode, _ in counts.elaborations} == set(modes)
    assert len({sizes for *_, sizes in counts.elaborations}) == 1
    assert counts.deployments == deployments


@pytest.mark.parametrize("command", ["cost", "memory", "fuse"])
@pytest.mark.parametrize(("at", "sizes"), [("", SIZES), ("--at B=3", {**SIZES, "B": 3})])
def test_reports_name_the_sizes_in_force(
    command: str, at: str, sizes: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.plan").write_text(TEXT)
    arguments = [command, str(tmp_path / "net.plan"), *at.split()]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bindings"] == sizes
    assert main(arguments) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert [f"{name}={size}" in head for name, size in sizes.items()] == [True] * 3


def model(text: str = TEXT, **parameters: Any) -> planform.Model:
    file = planform.PlanFile.from_text(text)
    return planform.Model(file, file.plan(), parameters)


def test_a_model_makes_everything_once(counts: Counts) -> None:
    net = model()
    assert net.check().ok
    net.cost("train")
    net.cost("deploy")
    net.memory("deploy")
    assert net.deploy() is net.deploy()
    assert net.deploy().graph is net.graph_in("deploy")
    assert net.deploy().source.graph is net.graph is net.program.graph
    assert net.at(B=2).graph is net.graph  # the sizes in force are the same
    net.to_torch(mode="deploy", device="meta")
    assert counts.elaborations == {("net", mode, str(sorted(SIZES.items()))): 1 for mode in ("eval", "train")}
    assert counts.deployments == 1


def test_a_model_has_the_sizes_in_force() -> None:
    net = model()
    assert net.bindings == SIZES
    assert net.at(B=5).bindings == {**SIZES, "B": 5}
    assert net.cost(B=5).bindings == net.memory(B=5).bindings == {**SIZES, "B": 5}


def test_sweeps_do_not_keep_all_graphs(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "MAX_KEPT", 3)
    net = model()
    own, first = net.graph, net.at(B=10)
    graph = first.graph
    for batch in range(11, 16):
        assert net.at(B=batch).graph.inputs[0].shape[0] == batch
    assert len(net.file._others) == 3
    assert first.graph is graph  # a model keeps its own
    assert net.at(B=15).graph is net.at(B=15).graph
    assert max(counts.elaborations.values()) == 1
    assert net.at(B=10).graph is not graph
    assert model().graph is not own and net.file.program("net").graph is own


def measured(key: Any) -> int:
    """How many parts a key has."""
    return 1 + sum(map(measured, key)) if isinstance(key, (tuple, frozenset)) else 1


def test_keys_are_small_and_tell_parameters_apart(counts: Counts) -> None:
    file = planform.PlanFile.from_text(TEXT)
    values = file.scope.names
    plan, thin = values["net"], values["thin"]
    # The text of a block, its declaration and file, was a key of megabytes.
    assert measured(key_of(plan)) < 30
    assert all(not isinstance(part, str) or len(part) < 100 for part in key_of(plan))  # pyright: ignore
    assert key_of(thin) == key_of(thin)
    unlike = [1, 1.0, True, "1", None, [1], (1,), {"a": 1}, {"a": True}, 0.0, -0.0, float("nan"), thin, plan]
    keys = [key_of(value) for value in unlike]
    assert len(set(keys)) == len(unlike)
    assert keys == [key_of(value) for value in unlike]
    unhashable = bytearray(b"1")
    assert key_of(unhashable) == key_of(unhashable) != key_of(bytearray(b"1"))


def test_equal_parameters_are_one_graph(counts: Counts) -> None:
    file = planform.PlanFile.from_text(TEXT)
    wide = [planform.Model(file, "net", {"width": 8}) for _ in range(2)]
    assert wide[0].graph is wide[1].graph
    assert planform.Model(file, "net", {}).graph is not wide[0].graph
    assert sum(counts.elaborations.values()) == 2
