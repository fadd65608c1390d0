"""Deploying as users reach it: reports, claims, emitted source and the module agree."""

from __future__ import annotations

import json
import subprocess
import sys

import torch

import planform


def test_source_of_a_deployed_plan_takes_the_prepared_weights() -> None:
    model = planform.load("repvgg_a0")
    module = model.to_torch(mode="deploy").eval()
    space: dict[str, object] = {}
    exec(model.to_source("deploy"), space)
    written = space["RepvggA0"]().eval()
    written.load_state_dict(module.state_dict())
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(written(image), module(image), rtol=1e-4, atol=1e-5)


def test_reports_speak_of_the_deployed_graph() -> None:
    model = planform.load("repvgg_a0")
    report = model.cost("deploy", B=1, H=224, W=224)
    assert (report.mode, report.params) == ("deploy", 8_309_384)
    assert sum(w.numel() for w in model.to_torch(mode="deploy").state_dict().values()) == report.params
    command = [sys.executable, "-m", "planform", "cost", "repvgg_a0", "--mode", "deploy", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert told["params"] == report.params
