"""How soon a compiled plan gives its first result: from the start of a process, and from `load_compiled`.

    .venv/bin/python benchmarks/artifact_start.py [--json] [--processes N] [NETWORK...]

Each network is compiled for this machine and saved. `start` is the time from starting a fresh process until
it tells that it has loaded the file and called it once on zeros: Python, numpy, TVM's runtime, hashes, checks
and kernels are all in it. `run` is the same of `planform run FILE --input IMAGE`, which also reads a photo,
until it prints what it sees. `load` is what `planform.load_compiled` takes, after imports. The figures are
medians over processes, after one that does not count. Nothing else should run meanwhile.

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
FIRST = """
import sys
import numpy as np
import planform
planform.load_compiled(sys.argv[1])(np.zeros((1, 3, 224, 224), np.float32))
print("torch" in sys.modules, flush=True)
"""
LOAD = """
import sys, time
from planform.backends.tvm.runtime.compiled import load_compiled
from planform.backends.tvm.runtime.libraries import ffi
ffi()
start = time.perf_counter()
load_compiled(sys.argv[1])
print(time.perf_counter() - start)
"""


def saved(network: str, folder: Path) -> Path:
    """The network compiled with initial weights, at batch 1 and 224 x 224."""
    import planform

    path = folder / f"{network}.plank"
    bound(planform.load(network), (1, 3, 224, 224)).to_tvm(seed=0).save(path)
    return path


def timed(line: Sequence[str]) -> tuple[float, str]:
    """The seconds until a process tells something, and its first line."""
    start = time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(line)} failed")
    return seconds, told.strip()


def measure(network: str, processes: int, folder: Path) -> dict[str, Any]:
    """Medians over processes, in seconds."""
    from PIL import Image

    path, photo = saved(network, folder), folder / "photo.png"
    Image.new("RGB", (500, 375), (90, 120, 60)).save(photo)
    figures: dict[str, list[float]] = {"start": [], "run": [], "load": []}
    for _ in range(processes + 1):
        seconds, torch = timed([sys.executable, "-c", FIRST, str(path)])
        assert torch == "False", "torch was imported"
        figures["start"].append(seconds)
        command = [sys.executable, "-m", "planform", "run", str(path), "--input", str(photo)]
        figures["run"].append(timed(command)[0])
        figures["load"].append(float(timed([sys.executable, "-c", LOAD, str(path)])[1]))
    medians = {name: statistics.median(each[1:]) for name, each in figures.items()}
    return {"network": network, "megabytes": path.stat().st_size / 1e6, **medians}


def main() -> int:
    """Measure and print; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="How soon compiled plans give their first result.")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--processes", type=int, default=9)
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    if not given.json:
        print(f"{'':<26}{'file, MB':>9}{'load, s':>9}{'start, s':>10}{'planform run, s':>17}")
    with tempfile.TemporaryDirectory() as name:
        for network in given.networks:
            one = measure(network, given.processes, Path(name))
            found.append(one)
            if not given.json:
                cells = f"{one['megabytes']:9.1f}{one['load']:9.3f}{one['start']:10.3f}"
                print(f"{network:<26}{cells}{one['run']:17.3f}", flush=True)
    goals = [
        {"text": "from the start of a process to the first result", "most": GOAL_START, "key": "start"},
        {"text": "the same of `planform run` on a photo", "most": GOAL_START, "key": "run"},
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
