"""How soon a compiled plan gives its first result: from the start of a process, and from `load_compiled`.

    .venv/bin/python benchmarks/artifact_start.py [--json] [--processes N] [NETWORK...]

Each network is compiled for this machine and saved; then fresh processes load the file and call it once on
zeros, so that all that a process pays is in its time: Python, numpy, TVM's runtime, hashes, checks, the
kernels. `load` is the part of it that `planform.load_compiled` takes, after imports; `run` is the command
`planform run FILE --input IMAGE`, which also reads a photo. The figures are medians over processes, after one
that does not count. Nothing else should run meanwhile.

Needs the extra `tvm`. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contest.contestants import bound

NETWORKS = (
    "resnet18",
    "resnet50",
    "mobilenetv2_100",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_small_patch16_224",
)
GOAL_START, GOAL_LOAD = 0.5, 0.2
# A process: the time of loading, of the first call, and whether torch has come in.
FIRST = """
import sys, time
import numpy as np
import planform.backends.tvm.compiled
from planform.backends.tvm.libraries import ffi
ffi()
start = time.perf_counter()
plan = planform.load_compiled(sys.argv[1])
loaded = time.perf_counter()
plan(np.zeros((1, 3, 224, 224), np.float32))
print(loaded - start, time.perf_counter() - loaded, "torch" in sys.modules)
"""


def saved(network: str, folder: Path) -> Path:
    """The network compiled with initial weights, at batch 1 and 224 x 224."""
    import planform

    path = folder / f"{network}.plank"
    bound(planform.load(network), (1, 3, 224, 224)).to_tvm(seed=0).save(path)
    return path


def timed(line: Sequence[str]) -> tuple[float, str]:
    """The seconds of a process, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def measure(network: str, processes: int, folder: Path) -> dict[str, Any]:
    """Medians over processes, in seconds."""
    from PIL import Image

    path, photo = saved(network, folder), folder / "photo.png"
    Image.new("RGB", (500, 375), (90, 120, 60)).save(photo)
    first = [sys.executable, "-c", FIRST, str(path)]
    command = [sys.executable, "-m", "planform", "run", str(path), "--input", str(photo)]
    starts: list[float] = []
    loads: list[float] = []
    calls: list[float] = []
    runs: list[float] = []
    for _ in range(processes + 1):
        seconds, told = timed(first)
        load, call, torch = told.split()
        assert torch == "False", "torch was imported"
        starts.append(seconds)
        loads.append(float(load))
        calls.append(float(call))
        runs.append(timed(command)[0])
    figures = {"start": starts, "load": loads, "call": calls, "run": runs}
    return {
        "network": network,
        "megabytes": path.stat().st_size / 1e6,
        **{name: statistics.median(each[1:]) for name, each in figures.items()},
    }


def main() -> int:
    """Measure and print; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="How soon compiled plans give their first result.")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--processes", type=int, default=9)
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    if not given.json:
        print(f"{'':<26}{'file, MB':>9}{'load, s':>9}{'call, s':>9}{'start, s':>10}{'planform run, s':>17}")
    with tempfile.TemporaryDirectory() as name:
        for network in given.networks:
            one = measure(network, given.processes, Path(name))
            found.append(one)
            if not given.json:
                cells = f"{one['megabytes']:9.1f}{one['load']:9.3f}{one['call']:9.3f}{one['start']:10.3f}"
                print(f"{network:<26}{cells}{one['run']:17.3f}", flush=True)
    goals = [
        {"text": "from the start of a process to the first result", "most": GOAL_START, "key": "start"},
        {"text": "`load_compiled` after imports", "most": GOAL_LOAD, "key": "load"},
    ]
    for goal in goals:
        goal["value"] = max(one[goal["key"]] for one in found)
        goal["met"] = goal["value"] <= goal["most"]
    if given.json:
        print(json.dumps({"networks": found, "goals": goals}, indent=2))
    else:
        for goal in goals:
            told = f"{goal['text']}: at worst {goal['value']:.3f} s, at most {goal['most']} s"
            print(f"{'met   ' if goal['met'] else 'MISSED'}  {told}")
    return 0 if all(goal["met"] for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
