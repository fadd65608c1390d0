"""Compiled plans on a GPU beside torch: first whether they are right, then how long they take.

    .venv/bin/python benchmarks/gpu/run.py [--json] [--batches N ...] [NETWORK...]

Needs an NVIDIA GPU with its driver, nvcc, torch for CUDA and timm; without them it says so and exits with 0.
Exits with 1 if a result is wrong. Nothing else should use the GPU meanwhile. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NETWORKS = (
    *("resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0", "convnext_tiny"),
    *("vit_small_patch16_224", "densenet121", "swin_tiny_patch4_window7_224"),
)
TOLERANCE = 1e-3
TURNS, CALLS = 15, 20


def lacking() -> str | None:
    """What is missing to run at all."""
    import torch

    if not torch.cuda.is_available():
        return "torch finds no GPU"
    if shutil.which("nvcc") is None:
        return "nvcc is not on the path"
    missing = [name for name in ("timm", "tvm") if find_spec(name) is None]
    return f"{', '.join(missing)} is not installed" if missing else None


def contestants(network: str, images: Any) -> tuple[dict[str, Callable[[], Any]], int]:
    """What each runs at a call, whose result is on the device; and how many launches ours has."""
    import torch

    import planform
    from contest.cases import drawn

    model = drawn(network)
    major, minor = torch.cuda.get_device_capability()
    target = {"kind": "cuda", "arch": f"sm_{major}{minor}"}
    batch, _, height, width = images.shape
    plan = planform.load(network, at={"B": batch, "H": height, "W": width})
    compiled = plan.to_tvm(model.state_dict(), target=target)
    given = images.numpy()
    compiled(given)  # what is copied to the device stays there
    runner: Any = compiled.runner
    call = runner.call(runner.symbols_of([given]))
    on_gpu, there = model.cuda(), images.cuda()
    fast = torch.compile(on_gpu, mode="max-autotune")
    found = {
        "planform": call.launch,
        "eager": lambda: on_gpu(there),
        "inductor": lambda: fast(there),
    }
    return found, sum(len(step.launches) for step in compiled.program.steps)


def errors(network: str, images: Any) -> dict[str, float]:
    """The largest errors of ours and of eager torch, as parts of the largest result in float64."""
    import torch

    import planform
    from contest.cases import drawn

    model = drawn(network)
    plan = planform.load(network)
    ours = plan.to_tvm(model.state_dict(), target="cuda")(images)
    eager = model.cuda()(images.cuda()).cpu()
    wanted = model.cpu().double()(images.double())
    top = wanted.abs().max()
    return {
        name: float((found.double() - wanted).abs().max() / top)
        for name, found in (("planform", torch.as_tensor(ours)), ("eager", eager))
    }


def measured(run: Mapping[str, Callable[[], Any]], wait: Callable[[], None]) -> dict[str, float]:
    """Milliseconds of a call: the median over turns, in which they follow each other."""
    for call in run.values():
        for _ in range(5):
            call()
        wait()
    times: dict[str, list[float]] = {name: [] for name in run}
    for _ in range(TURNS):
        for name, call in run.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            wait()
            times[name].append((time.perf_counter() - start) / CALLS * 1e3)
    return {name: statistics.median(each) for name, each in times.items()}


def row(network: str, batch: int) -> dict[str, Any]:
    """One network at one batch."""
    import torch

    from contest.cases import drawn, image_size

    images = torch.randn(batch, *image_size(drawn(network)), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wrong = errors(network, images)
        run, launches = contestants(network, images)
        times = measured(run, torch.cuda.synchronize)
    ratios = {name: times["planform"] / times[name] for name in ("eager", "inductor")}
    return {
        "network": network,
        "batch": batch,
        "errors": wrong,
        "right": wrong["planform"] <= TOLERANCE,
        "launches": launches,
        "ms": times,
        "ratios": ratios,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    why = lacking()
    if why is not None:
        print(json.dumps({"skipped": why}) if options.json else f"nothing is measured: {why}")
        return 0
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    rows: list[dict[str, Any]] = []
    for network in options.networks:
        for batch in options.batches:
            rows.append(row(network, batch))
            if not options.json:
                print(text(rows[-1]), flush=True)
    if options.json:
        print(json.dumps({"gpu": torch.cuda.get_device_name(), "rows": rows}))
    return int(not all(each["right"] for each in rows))


def text(each: Mapping[str, Any]) -> str:
    """A row to read."""
    times = "  ".join(f"{name} {ms:8.3f}" for name, ms in each["ms"].items())
    ratios = "  ".join(f"{ratio:.2f} of {name}" for name, ratio in each["ratios"].items())
    right = "right" if each["right"] else f"WRONG by {each['errors']['planform']:.1e}"
    return (
        f"{each['network']:<30} x{each['batch']}: {right}  {times} ms  {ratios}  {each['launches']} launches"
    )


if __name__ == "__main__":
    sys.exit(main())
