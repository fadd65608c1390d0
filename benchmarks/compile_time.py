"""How long it takes from text to a checked graph with its cost, and how that grows.

    .venv/bin/python benchmarks/compile_time.py [--json]

Prints, from one run: the time of an operator (ResNet-50, text to graph and cost); the growth with depth, to a
ResNet of 1,202 layers (the deepest of the paper); the start of the command line; what fvcore and torchinfo
take for the same network. All times are wall clock on this machine, in one process unless said otherwise; the
median of several runs, after those that are shown as the first.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLAN = ROOT / "examples" / "convnets" / "resnet.plan"
AT = {"B": 1, "H": 224, "W": 224}
GOAL_OPERATOR = 0.2e-3
GOAL_GROWTH = 5.0
GOAL_HELP = 0.3

# Section 4.2 of arXiv:1512.03385: 6n + 2 layers in three stages of 16, 32 and 64 channels.
CIFAR = """planform 1
block basic(x: [B, C, H, W], width: int, stride: int = 1) {
    y = x -> conv1: conv(width, 3, stride=stride, pad=1) -> bn1: batch_norm() -> relu()
          -> conv2: conv(width, 3, pad=1) -> bn2: batch_norm()
    skip = x
    if stride != 1 or C != width {
        skip = x -> "downsample.0": conv(width, 1, stride=stride) -> "downsample.1": batch_norm()
    }
    return relu(y + skip)
}
model resnet(image: [B, 3, H, W], depth: int) -> [B, 10] {
    x = image -> conv1: conv(16, 3, pad=1) -> bn1: batch_norm() -> relu()
    for i in range(3) {
        for j in range(depth) {
            x = x -> "layer{i + 1}.{j}": basic(16 * 2**i, stride=2 if i > 0 and j == 0 else 1)
        }
    }
    return x -> mean(axis=[2, 3]) -> fc: linear(10)
}
plan cifar = resnet(depth=3)
"""
DEPTHS = (12, 50, 200)  # 74, 302 and 1,202 layers


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds that some work takes, and what it gives; earlier work's litter is not its own."""
    gc.collect()
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def median_of(work: Callable[[], Any], runs: int) -> float:
    """The median time of several runs."""
    return statistics.median(timed(work)[0] for _ in range(runs))


def forget() -> None:
    """Empty what the compiler remembers between plans, so that each run starts from the text."""
    from planform.compiler.ops.core import base

    base._inferred.clear()  # pyright: ignore[reportPrivateUsage]  # the one table that outlives a plan


def operators(report: Any) -> int:
    """The operators of a cost report."""
    return len(report.rows)


def per_operator() -> dict[str, Any]:
    """Text to graph and cost of ResNet-50 in both modes, and the time of an operator."""
    import planform

    def compile_plan(**sizes: Any) -> Any:
        return planform.load(str(PLAN), plan="resnet50").cost(**sizes)

    first, report = timed(lambda: compile_plan(**AT))

    def fresh() -> None:
        forget()
        compile_plan(**AT)

    bound = median_of(fresh, 7)
    symbolic_first, _ = timed(compile_plan)
    symbolic = median_of(lambda: (forget(), compile_plan()), 5)
    # Both modes are elaborated, so twice the operators of the report are made.
    count = 2 * operators(report)
    return {
        "operators": count,
        "first_s": first,
        "median_s": bound,
        "first_per_operator_s": first / count,
        "per_operator_s": bound / count,
        "symbolic_first_s": symbolic_first,
        "symbolic_s": symbolic,
        "symbolic_per_operator_s": symbolic / count,
    }


def growth() -> list[dict[str, Any]]:
    """Text to graph and cost of CIFAR ResNets by depth."""
    from planform.api.model import Model
    from planform.api.plan_file import PlanFile

    found: list[dict[str, Any]] = []
    for depth in DEPTHS:

        def compile_plan(depth: int = depth) -> Any:
            forget()
            return Model(PlanFile.from_text(CIFAR), "cifar", {"depth": depth}).cost(B=1, H=32, W=32)

        report = compile_plan()
        seconds = median_of(compile_plan, 3)
        count = 2 * operators(report)
        found.append(
            {"layers": 6 * depth + 2, "operators": count, "s": seconds, "per_operator_s": seconds / count}
        )
    for before, after in pairwise(found):
        after["growth"] = after["s"] / before["s"]
        after["operator_growth"] = after["operators"] / before["operators"]
    return found


def command(*arguments: str, runs: int = 5) -> float:
    """The median time of a command in a process of its own."""
    environment = {**os.environ, "NO_COLOR": "1"}

    def start() -> None:
        line = [sys.executable, "-m", "planform", *arguments]
        subprocess.run(line, check=True, capture_output=True, env=environment)

    return median_of(start, runs)


def loads(*arguments: str) -> list[str]:
    """Which of the heavy modules a command loads."""
    code = (
        f"import sys; from planform.__main__ import main; main({list(arguments)!r});"
        "print(*({'torch', 'sympy', 'numpy', 'rich', 'networkx'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return sorted(done.stderr.split())


def others() -> dict[str, Any]:
    """What fvcore and torchinfo take and find for torchvision's ResNet-50."""
    import logging

    sys.path.insert(0, str(ROOT / "tests"))
    import torch
    from fvcore.nn import FlopCountAnalysis
    from torchinfo import summary

    from support.torchvision_shim import import_torchvision

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    build, network = timed(lambda: import_torchvision().models.resnet50().eval())
    image = torch.zeros(1, 3, 224, 224)

    def by_fvcore() -> int:
        analysis = FlopCountAnalysis(network, image)
        analysis.unsupported_ops_warnings(False)
        analysis.uncalled_modules_warnings(False)
        return int(analysis.total())

    def by_torchinfo() -> int:
        return int(summary(network, input_data=image, verbose=0).total_mult_adds)

    fvcore_first, fvcore_macs = timed(by_fvcore)
    torchinfo_first, torchinfo_macs = timed(by_torchinfo)
    return {
        "build_module_s": build,
        "fvcore": {"first_s": fvcore_first, "s": median_of(by_fvcore, 3), "macs": fvcore_macs},
        "torchinfo": {"first_s": torchinfo_first, "s": median_of(by_torchinfo, 3), "macs": torchinfo_macs},
    }


def main() -> int:
    """Measure and print; 1 if a goal is missed."""
    result: dict[str, Any] = {
        "import_s": timed(lambda: __import__("planform.api.model"))[0],
        "resnet50": per_operator(),
        "growth": growth(),
        "help_s": command("--help"),
        "check_s": command("check", str(PLAN)),
        "check_loads": loads("check", str(PLAN)),
        "others": others(),
    }
    if "--json" in sys.argv[1:]:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0 if all(met for _, met in goals(result)) else 1


def goals(result: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each goal with whether it is met."""
    one, grown = result["resnet50"], result["growth"]
    rates = [each["growth"] for each in grown if "growth" in each]
    return [
        (
            f"an operator in {one['per_operator_s'] * 1e3:.3f} ms, at most {GOAL_OPERATOR * 1e3} ms",
            one["per_operator_s"] <= GOAL_OPERATOR,
        ),
        (
            f"four times the layers in {' and '.join(f'{rate:.2f}' for rate in rates)} times the time, "
            f"at most {GOAL_GROWTH}",
            all(rate <= GOAL_GROWTH for rate in rates),
        ),
        (
            f"planform --help in {result['help_s']:.2f} s, at most {GOAL_HELP} s",
            result["help_s"] <= GOAL_HELP,
        ),
        ("check without torch", "torch" not in result["check_loads"]),
    ]


def show(result: dict[str, Any]) -> None:
    """The figures for people."""
    one, rest = result["resnet50"], result["others"]
    print("ResNet-50, text to checked graph (train and eval) with cost")
    print(f"  operators                   {one['operators']:>10}")
    print(f"  import of planform.api.model      {_ms(result['import_s'])}")
    print(f"  first, with all warm-up     {_ms(one['first_s'])} {_each(one['first_per_operator_s'])}")
    print(f"  then                        {_ms(one['median_s'])} {_each(one['per_operator_s'])}")
    print(f"  symbolic, first (sympy)     {_ms(one['symbolic_first_s'])}")
    print(f"  symbolic, then              {_ms(one['symbolic_s'])} {_each(one['symbolic_per_operator_s'])}")
    print("\nCIFAR ResNets by depth")
    for each in result["growth"]:
        line = f"  {each['layers']:>5} layers                {_ms(each['s'])} {_each(each['per_operator_s'])}"
        if "growth" in each:
            line += f"  x{each['growth']:.2f} for x{each['operator_growth']:.2f} operators"
        print(line)
    print("\nThe command line, in a process of its own")
    print(f"  planform --help             {_ms(result['help_s'])}")
    loaded = ", ".join(result["check_loads"]) or "none of the heavy modules"
    print(f"  planform check resnet.plan  {_ms(result['check_s'])}, loads {loaded}")
    print("\nOthers, on torchvision's ResNet-50 at 1 x 3 x 224 x 224 (the module is built before)")
    for name in ("fvcore", "torchinfo"):
        other = rest[name]
        times = f"{_ms(other['s'])} (first {_ms(other['first_s']).strip()})"
        print(f"  {name:<27} {times}, {other['macs']:,} multiply-adds")
    print(f"  planform, from the text     {_ms(one['median_s'])} (first {_ms(one['first_s']).strip()})")
    print("\nGoals")
    for text, met in goals(result):
        print(f"  {'met   ' if met else 'MISSED'}  {text}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:>10.1f} ms"


def _each(seconds: float) -> str:
    return f"{seconds * 1e3:8.3f} ms an operator"


if __name__ == "__main__":
    sys.exit(main())
