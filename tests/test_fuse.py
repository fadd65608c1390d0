"""`planform fuse`: the kernels that it prints are those that a build runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from planform.api.compile import deployed_model
from planform.api.model import Model, load
from planform.api.plan_file import PlanFile
from planform.backends.tvm.compile import lowered_for, partition_for
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.cuda.device import gpu_of
from planform.cli.app import app
from planform.compiler.cost import cost
from planform.compiler.graph.graph import Graph

NETWORKS = {
    "resnet18": {"B": 1, "H": 64, "W": 64},
    "mobilenetv2_100": {"B": 2, "H": 96, "W": 96},
    "densenet121": {"B": 1, "H": 64, "W": 64},
    "vit_tiny_patch16_224": {},
    "cnn_lstm": {"B": 1, "T": 3, "H": 64, "W": 64},
}


def graph_of(name: str) -> Graph:
    at = NETWORKS[name]
    return deployed_model(load(name, at=at) if at else load(name), "f32").graph


def of_text(body: str, inputs: str) -> Graph:
    text = f"planform 1\nmodel network({inputs}) {{\n{body}\n}}\nplan net = network()\n"
    return deployed_model(Model(PlanFile.from_text(text, "net.plan"), "net", {}, {}), "f32").graph


@pytest.mark.parametrize("target", [None, "cuda"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_steps_are_those_of_the_lowered_program(name: str, target: str | None) -> None:
    graph = graph_of(name)
    parts, program = partition_for(graph, target)
    machine = host() if target is None else gpu_of({"kind": "cuda"})
    lowered = lowered_for(graph, machine).program
    assert len(program.constants) == len(lowered.constants)
    assert [step.about for step in program.steps] == [step.about for step in lowered.steps]
    if target is None:
        assert [step.function for step in program.steps] == [step.function for step in lowered.steps]
    # Steps without a line copy what has another layout, or what the caller gave.
    kernels = [step.about.split() for step in lowered.steps if step.about not in ("", "result")]
    # Of a group the lowered step tells its operators in order, then a label and the place in the plan.
    groups = [[node.op.title for node in group.nodes] for group in parts.groups if group.kernels]
    assert [words[: len(titles)] for words, titles in zip(kernels, groups, strict=True)] == groups
    assert all(len(words) <= len(titles) + 2 for words, titles in zip(kernels, groups, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_is_in_a_group_and_counted(name: str) -> None:
    parts, _ = partition_for(graph_of(name))
    members = {node for group in parts.groups for node in group.nodes} | set(parts.prologue)
    assert members == set(parts.graph.operators())
    again = sum([group.block.again for group in parts.groups if group.block])
    assert parts.macs == cost(parts.graph).macs() + again
    for refused in parts.refusals:
        assert refused.reason and refused.before != refused.after
        assert refused.value in parts.groups[refused.before].outputs
        assert refused.consumer in parts.groups[refused.after].nodes


def test_bytes_by_hand() -> None:
    parts, _ = partition_for(of_text("    return relu(x -> a: linear(6)) * 2.0", "x: [5, 4]"))
    (group,) = parts.groups
    weights = 4 * (4 * 6 + 6)
    assert (group.kind, group.macs, group.after) == (
        "contraction",
        5 * 4 * 6,
        4 * 5 * 4 + weights + 4 * 5 * 6,
    )
    assert group.before == group.after + 2 * 2 * 4 * 5 * 6


def test_what_is_memory_in_another_shape_runs_no_kernel() -> None:
    parts, program = partition_for(of_text("    return exp(x), reshape(sort(x)[0], [4, 3])", "x: [3, 4]"))
    kernels = {group.kind: group.kernels for group in parts.groups}
    assert kernels["view"] == 0 and kernels["elementwise"] == 1
    assert len(program.steps) == sum([group.kernels > 0 for group in parts.groups])


def test_why_a_kernel_does_not_take_a_neighbour() -> None:
    body = "    y = x -> a: conv(4, 1) -> relu()\n    return y -> global_avg_pool()"
    parts, _ = partition_for(of_text(body, "x: [1, 3, 8, 8]"))
    reasons = {(refused.cause, refused.reason) for refused in parts.refusals}
    assert (
        "kernel",
        "global_avg_pool has a kernel of its own: it does not take conv's elements one by one",
    ) in reasons


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["fuse", *arguments])


def test_the_command_prints_the_kernels_that_run() -> None:
    at = ["--at", "B=1,H=64,W=64"]
    printed = run("resnet18", *at)
    assert printed.exit_code == 0, printed.output
    assert "48 operators in 23 kernels" in printed.output and "kernels for cpu" in printed.output
    assert "why they are not one" in printed.output and "resnet.plan:" in printed.output
    data = json.loads(run("resnet18", *at, "--json").output)
    assert (data["kind"], data["target"], data["cache"], data["mode"]) == ("fuse", "cpu", None, "deploy")
    assert len(data["groups"]) == len(lowered_for(graph_of("resnet18"), host()).program.steps)
    assert data["bytes_after"] == sum(group["bytes_after"] for group in data["groups"])


def test_kernels_of_free_sizes_are_printed_too() -> None:
    printed = run("resnet18")
    assert printed.exit_code == 0 and "operators in 23 kernels" in printed.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cache", "4"], "--cache asks a model"),
        (["--cache", "0"], "--cache asks a model"),
        (["--device", "h100"], "--device asks a model"),
        (["--what-if", "--device", "h10"], "no device is called `h10`"),
        (["--mode", "train"], "--mode asks a model"),
        (["--no-blocks"], "--no-blocks asks a model"),
        (["--target", "z80"], "`z80` is no target"),
    ],
)
def test_what_the_command_does_not_take(arguments: list[str], said: str) -> None:
    refused = run("resnet18", *arguments)
    assert refused.exit_code != 0 and said in refused.output + refused.stderr
