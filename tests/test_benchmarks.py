"""The benchmarks run, and their arithmetic is right; no time is judged here."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "benchmarks/torch_deploy.py"


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(FILE))


def test_ratios_are_taken_where_the_peer_is_faster(benchmark: dict[str, Any]) -> None:
    times = {
        "default": {"timm": [20.0, 22.0, 90.0], "planform": [5.0, 5.0, 5.0]},
        "raised": {"timm": [10.0, 12.0, 8.0], "planform": [9.0, 6.0, 8.0]},
    }
    found = benchmark["summary"]("net", times)
    assert found["malloc"] == "raised"
    assert found["ratio"] == pytest.approx(0.8)
    assert found["spread"] == pytest.approx([0.5, 1.0])
    goals = benchmark["judge"]([found, {"network": "other", "ratio": 1.25}])
    assert [goal["value"] for goal in goals] == pytest.approx([1.0, 1.25])
    assert not any(goal["met"] for goal in goals)


@pytest.mark.slow
def test_deployed_networks_are_measured_beside_timm() -> None:
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    line = [sys.executable, str(FILE), "--json", "--processes", "1", "--seconds", "0.1", "--threads", "1"]
    done = subprocess.run([*line, "mobilenetv2_035"], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    (one,) = found["networks"]
    assert found["threads"] == 1
    assert one["network"] == "mobilenetv2_035"
    assert one["error"] < 1e-3
    assert {side for times in one["ms"].values() for side in times} == {"timm", "planform"}
    assert len(found["goals"]) == 2


@pytest.mark.slow
def test_artifacts_are_timed_from_the_start_of_a_process() -> None:
    file = FILE.with_name("artifact_start.py")
    line = [sys.executable, str(file), "--json", "--processes", "1", "mobilenetv2_035"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    (one,) = found["networks"]
    assert 0 < one["load"] < one["start"] < one["run"]
    assert [goal["met"] for goal in found["goals"]] == [
        goal["value"] <= goal["most"] for goal in found["goals"]
    ]
