"""The demo does what it says, and a model shows in notebooks."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import planform

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_demo_trains_to_its_goal(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run = [sys.executable, str(ROOT / "examples" / "demo.py")]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    held_out = re.search(r"([\d.]+)% of the held-out digits are right", done.stdout)
    assert held_out is not None and float(held_out[1]) >= 97
    weights = load_file(tmp_path / "out" / "digits.safetensors")
    assert weights["head.weight"].shape == (10, 48)


def test_a_model_shows_as_a_table() -> None:
    html = planform.load("digits", at={"B": 1, "H": 8, "W": 8})._repr_html_()
    rows = [
        [cell.text or "" for cell in row] for row in ElementTree.fromstring(f"<div>{html}</div>").iter("tr")
    ]
    assert rows[0] == ["scope", "call", "params", "MACs", "activations", "bytes"]
    assert rows[1][:4] == ["stem", "conv", "216", "13.82 k"]  # 3 * 3 * 24 weights, 8 * 8 places
    assert rows[-1][:3] == ["all", "", "43.67 k"]
