"""`to_tvm` beside torch eager, torch.compile, ONNX Runtime and OpenVINO, in float32 on this machine.

    .venv/bin/python benchmarks/tvm_cpu.py [--quick] [--json] [--output FOLDER] [--resume] [--threads N]
        [--batch N]... [--processes N] [--rounds N] [--seconds S] [--drop X] [--side NAME]... [NETWORK...]

All contestants get the weights of timm's network and the same images. Each is a fresh process, the peers one
with glibc's own thresholds of malloc and one with raised ones; ours has the default. These processes wait
while one of them has its turn, in an order that changes from round to round, and nobody runs for a moment
after it; then they end, and new ones begin. A process that runs on other cores or threads than all, or is
more than 1e-3 of the largest result away from float64, does not count. A peer that is `--drop` times slower
than the best after two processes, or that squared after one, is not started again. The report, `tvm_cpu.md`
with a picture and all figures in `tvm_cpu.json`, is written after each network. `--resume` goes on with such
a report: it keeps the networks that were measured in the same way, by the same versions on the same machine,
but for those that are named.

`--quick` is a glance: three networks, one process of each contestant, no report but where `--output` says.
Nothing else should run meanwhile. Needs timm and the extras `tvm` and `bench`; contestants that are not
installed are left out, and named. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contest.cases import missing
from contest.contestants import CONTESTANTS, work
from contest.figures import OURS, Case, Entrant, judge
from contest.kept import read, write
from contest.peak import measure_peak
from contest.processes import MALLOC, Worker, WorkerError, affinity, check, environment
from contest.report import markdown, picture, told

HERE = Path(__file__).resolve().parent
NETWORKS = (
    *("resnet18", "resnet34", "resnet50", "repvgg_a0", "dla34", "dla46x_c", "densenet121", "inception_v3"),
    *("mobilenetv2_100", "efficientnet_b0", "efficientnet_cc_b0_4e", "convnext_tiny", "fasternet_t0"),
    *("mambaout_femto", "dm_nfnet_f0", "halonet26t", "vit_small_patch16_224", "deit_tiny_patch16_224"),
    *("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "crossvit_9_240", "tnt_s_patch16_224"),
    "maxvit_tiny_tf_224",
)
QUICK = ("resnet18", "mobilenetv2_100", "vit_small_patch16_224")
PACKAGES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "openvino", "apache-tvm", "apache-tvm-ffi")
FIGURES = "tvm_cpu.json"
# The largest error beside float64, as a part of the largest result.
TOLERANCE = 1e-3
# Seconds in which nobody runs after a turn: threads that still spin would take cores from who is next.
PAUSE = 0.2


@dataclass(frozen=True)
class Plan:
    """How a case is measured."""

    threads: int
    processes: int
    rounds: int
    seconds: float
    drop: float
    sides: tuple[str, ...]


class Contest:
    """A network's contest at one batch, in a folder with its case."""

    def __init__(self, plan: Plan, case: Case, folder: Path) -> None:
        self.plan, self.case, self.folder = plan, case, folder
        self.cores = sorted(os.sched_getaffinity(0))

    def run(self) -> Case:
        """All processes, one of each contestant at a time."""
        for done in range(self.plan.processes):
            with ExitStack() as stack:
                workers = self._start(done, stack)
                if OURS in self.case.failed:
                    break
                for entrant, times in self._turns(workers).items():
                    self.case.times.setdefault(entrant, []).append(statistics.median(times))
        # A contestant that failed later than at first does not count either.
        for entrant in [each for each in self.case.times if each[0] in self.case.failed]:
            del self.case.times[entrant]
        return self.case

    def _entrants(self, done: int) -> list[Entrant]:
        """Ours, and each peer in both settings, but those that failed or cannot become the best."""
        found = [(side, malloc) for side in self.plan.sides for malloc in MALLOC]
        found = [each for each in found if each[0] not in self.case.failed]
        found = [each for each in found if each[0] != OURS or each[1] == "default"]
        if not done:
            return found
        # One process alone has to be clearer.
        factor = self.plan.drop if done > 1 else self.plan.drop**2
        return [each for each in found if not self.case.hopeless(each, factor)]

    def _start(self, done: int, stack: ExitStack) -> dict[Entrant, Worker]:
        """The processes of a generation, each ready to be called."""
        workers: dict[Entrant, Worker] = {}
        for together in self._together(done):
            begun = {each: self._begin(each, stack) for each in together if each[0] not in self.case.failed}
            for worker in begun.values():
                worker.send({"do": "build"})
            for (side, malloc), worker in begun.items():
                try:
                    built = worker.answer()
                    if not built["error"] <= TOLERANCE:
                        raise WorkerError(f"{worker.name} is off by {built['error']:.1e}")
                except WorkerError as error:
                    self.case.failed[side] = str(error)
                    continue
                self.case.compile.setdefault(side, built["seconds"])
                self.case.errors[side] = max(built["error"], self.case.errors.get(side, 0.0))
                workers[side, malloc] = worker
            if OURS in self.case.failed:
                break
        return workers

    def _together(self, done: int) -> list[list[Entrant]]:
        """Contestants that build at the same time.

        The first of each finds nothing cached, and is not to share the cores while it compiles.
        """
        entrants = self._entrants(done)
        if done:
            return [entrants]
        first = [each for each in entrants if each[1] == "default"]
        return [*([each] for each in first), [each for each in entrants if each not in first]]

    def _begin(self, entrant: Entrant, stack: ExitStack) -> Worker:
        """A fresh process of a contestant, which ends with the generation."""
        side, malloc = entrant
        case, name = self.case, f"{side} ({malloc})"
        return stack.enter_context(
            start(name, side, case.network, self.folder, case.batch, self.plan.threads, malloc)
        )

    def _turns(self, workers: Mapping[Entrant, Worker]) -> dict[Entrant, list[float]]:
        """The times of all calls, in ms."""
        times: dict[Entrant, list[float]] = {entrant: [] for entrant in workers}
        for number in range(self.plan.rounds):
            order = list(workers)
            shift = number * len(order) // max(self.plan.rounds, 1)
            for entrant in order[shift:] + order[:shift]:
                if entrant[0] in self.case.failed:
                    continue
                worker = workers[entrant]
                try:
                    found = worker.ask({"do": "time", "seconds": self.plan.seconds})
                    time.sleep(PAUSE)
                    check(worker.name, found, self.plan.threads, self.cores)
                except WorkerError as error:
                    self.case.failed[entrant[0]] = str(error)
                    continue
                times[entrant] += found["ms"]
        return {entrant: each for entrant, each in times.items() if entrant[0] not in self.case.failed}


def start(
    name: str, side: str, network: str, folder: Path, batch: int, threads: int, malloc: str = "default"
) -> Worker:
    """A fresh process; what runtimes cache lies in the folder of the case."""
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "PLANFORM_CACHE": str(folder / "planform")}
    line = [sys.executable, str(HERE / "contest/worker.py"), side, network, str(folder), str(batch)]
    return Worker(name, line, environment(threads, malloc, **caches))


def measure(network: str, batches: Sequence[int], plan: Plan, peak: float | None) -> list[Case]:
    """A network at some batches."""
    if not batches:
        return []
    today, here = datetime.date.today().isoformat(), commit()
    cases = [Case(network, batch, date=today, commit=here) for batch in batches]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with start(f"preparing {network}", "prepare", network, folder, 0, plan.threads) as worker:
                prepared = worker.ask({"batches": batches, "sides": plan.sides})
        except WorkerError as error:
            for case in cases:
                case.failed["all"] = str(error)
            return cases
        for case in cases:
            case.failed |= prepared["failed"]
            try:
                macs, square = work(network, case.batch, prepared["size"])
                case.floor, case.share = peak and macs / peak * 1e3, square / macs
            except Exception as error:
                case.failed[OURS] = str(error).splitlines()[0]
                continue
            Contest(plan, case, folder).run()
    return cases


def commit() -> str:
    """The commit of this clone, with a `+` where more than results has changed; empty outside of a clone."""
    git = ["git", "-C", str(HERE.parent)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        same = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!benchmarks/results"])
    except FileNotFoundError:
        return ""
    return found.stdout.strip() + "+" * (same.returncode == 1) if found.returncode == 0 else ""


def describe(given: argparse.Namespace, plan: Plan, absent: Mapping[str, list[str]]) -> dict[str, Any]:
    """The machine and the run."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "command": " ".join(["python", "benchmarks/tvm_cpu.py", *sys.argv[1:]]),
        "cpu": models[0] if models else platform.machine(),
        "cores": len(affinity()),
        "versions": versions,
        "missing": dict(absent),
        "batches": given.batch,
        **vars(plan),
    }


def arguments() -> argparse.Namespace:
    """The command line, with what `--quick` stands for."""
    parser = argparse.ArgumentParser(description="Kernels of ours beside other runtimes.")
    parser.add_argument("networks", nargs="*", help="names that timm and the examples have in common")
    parser.add_argument("--quick", action="store_true", help="three networks, a process each, batch 1")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--output", type=Path, help="the folder of the report (benchmarks/results)")
    parser.add_argument("--resume", action="store_true", help="keep what the report there has")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, action="append", help="1 and 8; may be repeated")
    parser.add_argument("--processes", type=int, help="how many of each contestant (5)")
    parser.add_argument("--rounds", type=int, help="turns of each process (5)")
    parser.add_argument("--seconds", type=float, help="how long a turn is (0.4)")
    parser.add_argument(
        "--drop", type=float, default=1.5, help="beyond that many times the best, two are enough"
    )
    parser.add_argument(
        "--side", action="append", choices=list(CONTESTANTS), help="only these; may be repeated"
    )
    given = parser.parse_args()
    # What is named is measured again.
    given.again = given.networks
    given.networks = given.networks or list(QUICK if given.quick else NETWORKS)
    given.batch = given.batch or ([1] if given.quick else [1, 8])
    given.processes = given.processes or (1 if given.quick else 5)
    given.rounds = given.rounds or (2 if given.quick else 5)
    given.seconds = given.seconds or (0.2 if given.quick else 0.4)
    if given.output is None and not given.quick:
        given.output = HERE / "results"
    return given


def main() -> int:
    """Measure, print and write; 1 if a goal is missed."""
    given = arguments()
    if find_spec("timm") is None:
        print("timm is not installed: nothing to compare with.")
        return 0
    asked = given.side or list(CONTESTANTS)
    absent = {side: names for side in asked if (names := missing(side))}
    sides = tuple(sorted((side for side in asked if side not in absent), key=lambda side: side != OURS))
    plan = Plan(given.threads, given.processes, given.rounds, given.seconds, given.drop, sides)
    about = describe(given, plan, absent)
    say = sys.stderr if given.json else sys.stdout
    with tempfile.TemporaryDirectory() as name:
        peak = measure_peak(given.threads, Path(name))
    about["peak_gmacs"] = peak and peak / 1e9
    cases: list[Case] = []
    if given.resume and given.output is not None:
        again = {(network, batch) for network in given.again for batch in given.batch}
        kept = read(given.output / FIGURES, about)
        cases = [case for case in kept if (case.network, case.batch) not in again]
    about["kept"] = len(cases)
    for network in given.networks:
        done = {case.batch for case in cases if case.network == network}
        found = measure(network, [batch for batch in given.batch if batch not in done], plan, peak)
        cases = sorted([*cases, *found], key=place)
        for case in found:
            print(line(case), file=say, flush=True)
        if given.output is not None:
            publish(given.output, about, cases)
    goals = judge(cases)
    if given.json:
        print(json.dumps({**about, "cases": [case.to_dict() for case in cases], "goals": goals}, indent=2))
    for goal in goals:
        print(f"{'met   ' if goal['met'] else 'MISSED'}  {told(goal)}", file=say)
    return 0 if all(goal["met"] for goal in goals) else 1


def publish(folder: Path, about: Mapping[str, Any], cases: Sequence[Case]) -> None:
    """Write the report and its picture."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / FIGURES, about, cases)
    (folder / "tvm_cpu.md").write_text(markdown(about, cases, judge(cases)), encoding="utf-8")
    (folder / "tvm_cpu.svg").write_text(picture(cases), encoding="utf-8")


def place(case: Case) -> tuple[int, int]:
    """Where a case stands in a report: in the order of the networks above, then by batch."""
    known = NETWORKS.index(case.network) if case.network in NETWORKS else len(NETWORKS)
    return known, case.batch


def line(case: Case) -> str:
    """A case in a line."""
    sides = dict.fromkeys(side for side, _ in case.times)
    times = [f"{side} {case.latency(best):.2f}" for side in sides if (best := case.best(side)) is not None]
    ratio = [] if case.ratio is None else [f"ratio {case.ratio:.3f}"]
    failed = [f"{side} failed: {why}" for side, why in case.failed.items()]
    return f"{case.network}, batch {case.batch}: {', '.join([*times, *ratio, *failed])}"


if __name__ == "__main__":
    sys.exit(main())
