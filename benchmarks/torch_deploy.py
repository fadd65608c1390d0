"""`to_torch(mode="deploy")` beside timm in eager mode, on this machine and in the same run.

    .venv/bin/python benchmarks/torch_deploy.py [--quick] [--json] [--threads N] [--processes N] [NETWORK...]

Both sides get the same weights and the same image, a batch of one in float32; timm's norms are drawn and
their running statistics measured first, so that nothing is trivially one or zero, and both results must
agree before a time counts. Each contestant runs in processes of its own, started in turn, with the same
affinity and the same number of threads, once with glibc's own thresholds of malloc and once with raised
ones. A process gives the median of its calls, and a contestant the median of its processes. The ratio is
ours to timm's in the setting in which timm is faster; its spread is that of the single rounds. `--quick` is
a glance: three networks and two processes of each. Nothing else should run meanwhile: on two busy cores
times grow tenfold.

Needs timm. Exits with 1 if a goal is missed, and with 0 and a message where timm is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contest.cases import build_timm, drawn, image_size
from contest.processes import MALLOC, environment

NETWORKS = (
    *("resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0", "convnext_tiny"),
    *("vit_small_patch16_224", "fasternet_t0", "mambaout_femto", "densenet121"),
    *("swin_tiny_patch4_window7_224", "repvgg_a0", "inception_v3", "dla34", "swinv2_tiny_window8_256"),
)
QUICK = ("resnet18", "mobilenetv2_100", "vit_small_patch16_224")
GOAL_MEAN, GOAL_WORST = 0.85, 1.05
# The largest error beside timm, as a part of the largest result.
TOLERANCE = 1e-3
SIDES = ("timm", "planform")


def prepare(network: str, folder: Path) -> dict[str, Any]:
    """Write weights, an image and what timm makes of it."""
    import torch

    model = drawn(network)
    with torch.no_grad():
        image = torch.randn(1, *image_size(model))
        result = model(image)
    torch.save((model.state_dict(), image, result), folder / "case.pt")
    return {"size": list(image.shape)}


def work(side: str, network: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Time one side in this process."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    weights, image, expected = torch.load(folder / "case.pt")
    if side == "timm":
        model = build_timm(network)
        model.load_state_dict(weights)
    else:
        import planform

        model = planform.load(network).to_torch(mode="deploy", state_dict=weights)
    del weights
    times: list[float] = []
    with torch.inference_mode():
        error = float((model(image) - expected).abs().max() / expected.abs().max())
        for _ in range(4):
            model(image)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            start = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - start)
    return {
        "ms": statistics.median(times) * 1e3,
        "calls": len(times),
        "error": error,
        "threads": torch.get_num_threads(),
        "affinity": sorted(os.sched_getaffinity(0)),
    }


def start(arguments: Sequence[str], threads: int, malloc: str = "default") -> dict[str, Any]:
    """Run this file as a worker in a fresh process; what it printed last."""
    line = [sys.executable, __file__, "--worker", *arguments]
    done = subprocess.run(line, env=environment(threads, malloc), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(network: str, threads: int, processes: int, seconds: float) -> dict[str, Any]:
    """All contestants of a network, in turn."""
    affinity = sorted(os.sched_getaffinity(0))
    times: dict[str, dict[str, list[float]]] = {malloc: {side: [] for side in SIDES} for malloc in MALLOC}
    errors: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        start(["prepare", network, folder, "0"], threads)
        for _ in range(processes):
            for malloc in MALLOC:
                for side in SIDES:
                    found = start([side, network, folder, str(seconds)], threads, malloc)
                    if (found["threads"], found["affinity"]) != (threads, affinity):
                        raise SystemExit(f"{side} ran with other threads: {found}")
                    if not found["error"] <= TOLERANCE:
                        raise SystemExit(f"{network}: {side} is off by {found['error']:.1e}")
                    errors.append(found["error"])
                    times[malloc][side].append(found["ms"])
    return summary(network, times) | {"error": max(errors)}


def summary(network: str, times: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """The ratio in the setting that suits timm best, from the times by setting and side, a time a process."""
    medians = {m: {side: statistics.median(ms) for side, ms in sides.items()} for m, sides in times.items()}
    chosen = min(medians, key=lambda malloc: medians[malloc]["timm"])
    rounds = [
        ours / peer for peer, ours in zip(times[chosen]["timm"], times[chosen]["planform"], strict=True)
    ]
    return {
        "network": network,
        "malloc": chosen,
        "ratio": medians[chosen]["planform"] / medians[chosen]["timm"],
        "spread": [min(rounds), max(rounds)],
        "median_ms": medians,
        "ms": times,
    }


def main() -> int:
    """Measure and print; 1 if a goal is missed."""
    if sys.argv[1:2] == ["--worker"]:
        what, network, folder, seconds = sys.argv[2:]
        report = (
            prepare(network, Path(folder))
            if what == "prepare"
            else work(what, network, Path(folder), float(seconds))
        )
        print(json.dumps(report))
        return 0
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Deployed plans beside timm in eager mode.")
    parser.add_argument("networks", nargs="*", help="names that timm and the examples have in common")
    parser.add_argument("--quick", action="store_true", help="three networks, two processes each")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--processes", type=int, help="how many of each contestant (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each process measures")
    given = parser.parse_args()
    if find_spec("timm") is None:
        print("timm is not installed: nothing to compare with.")
        return 0
    networks = given.networks or (QUICK if given.quick else NETWORKS)
    processes = given.processes or (2 if given.quick else 5)
    about = {
        "command": " ".join(["python", *sys.argv]),
        "versions": {"python": platform.python_version(), **{n: version(n) for n in ("torch", "timm")}},
        "cpus": os.cpu_count(),
        "affinity": cores,
        "threads": given.threads,
        "processes": processes,
        "seconds": given.seconds,
    }
    if not given.json:
        print(about["command"])
        print(", ".join(f"{name} {number}" for name, number in about["versions"].items()), end="; ")
        print(
            f"{about['cpus']} cpus, {cores} of them allowed, {given.threads} threads; {processes} processes"
        )
        print(f"\n{'':<29}{'timm, ms':>18}{'planform, ms':>18}{'':>9}{'ratio':>7}  of the rounds")
        print(f"{'malloc thresholds':<29}{'default   raised':>18}{'default   raised':>18}")
    found: list[dict[str, Any]] = []
    for network in networks:
        found.append(compare(network, given.threads, processes, given.seconds))
        if not given.json:
            print(row(found[-1]), flush=True)
    goals = judge(found)
    if given.json:
        print(json.dumps({**about, "networks": found, "goals": goals}, indent=2))
    else:
        print()
        for goal in goals:
            print(f"{'met   ' if goal['met'] else 'MISSED'}  {goal['text']}")
    return 0 if all(goal["met"] for goal in goals) else 1


def row(one: Mapping[str, Any]) -> str:
    """A network's line."""
    cells = [f"{one['median_ms'][malloc][side]:9.1f}" for side in SIDES for malloc in MALLOC]
    low, high = one["spread"]
    return (
        f"{one['network']:<29}{''.join(cells)}{one['malloc']:>9}{one['ratio']:>7.3f}  {low:.3f} to {high:.3f}"
    )


def judge(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The goals, and whether they are met."""
    mean = statistics.geometric_mean([one["ratio"] for one in found])
    worst = max(found, key=lambda one: one["ratio"])
    return [
        {
            "text": f"geometric mean {mean:.3f}, at most {GOAL_MEAN}",
            "value": mean,
            "met": mean <= GOAL_MEAN,
        },
        {
            "text": f"the worst {worst['ratio']:.3f} ({worst['network']}), at most {GOAL_WORST}",
            "value": worst["ratio"],
            "met": worst["ratio"] <= GOAL_WORST,
        },
    ]


if __name__ == "__main__":
    sys.exit(main())
