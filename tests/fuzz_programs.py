"""Random programs in every backend, for as long as you like.

    python tests/fuzz_programs.py --minutes 120 --seed 20260101 --jobs 2 --out /tmp/failures

Each failure is made small, written to a file, and the search goes on. A process that dies leaves the program that it
ran. A file from there, or one of tests/data/programs, is run again by naming it.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import os
import subprocess
import sys
import time
import warnings
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TVM_NUM_THREADS", "1")
_PROGRAMS = 150  # for each process, since compilers keep memory


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="programs to run again")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=date.today().toordinal() * 1_000_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-programs"))
    parser.add_argument("--backends", default="", help="for files: only those, by commas")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.files:
        return again(given.files, tuple(filter(None, given.backends.split(","))))
    return work(given) if given.worker else oversee(given)


def again(files: list[Path], backends: tuple[str, ...]) -> int:
    """Run files in all backends."""
    from support.random_programs.judge import BACKENDS, Refused, failures

    wrong = 0
    for path in files:
        try:
            for failure in failures(path.read_text(encoding="utf-8"), backends or (*BACKENDS, "train")):
                wrong += 1
                print(f"{path}: {failure}")
        except Refused as error:
            print(f"{path}: refused: {error}")
    return int(wrong > 0)


def oversee(given: argparse.Namespace) -> int:
    """Processes that work, started again until the time is over."""
    end = time.monotonic() + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    before = set(given.out.glob("*.plan"))
    running: dict[int, subprocess.Popen[bytes]] = {}
    starts = itertools.count()
    tried = 0
    while running or time.monotonic() < end:
        for job in range(given.jobs):
            if job not in running and time.monotonic() < end:
                first = given.seed + next(starts) * _PROGRAMS
                left = (end - time.monotonic()) / 60
                command = [sys.executable, __file__, "--worker", "--seed", str(first), "--minutes", str(left)]
                running[job] = subprocess.Popen([*command, "--out", str(given.out)])
            if job in running and running[job].poll() is not None:
                done = running.pop(job)
                marks = [given.out / f"{kind}.{done.pid}" for kind in ("running", "count")]
                tried += int(marks[1].read_text()) if marks[1].exists() else 0
                if done.returncode:
                    marks[0].rename(given.out / f"died_{-done.returncode}_{done.pid}.plan")
                for mark in marks:
                    mark.unlink(missing_ok=True)
        time.sleep(0.5)
    found = sorted(set(given.out.glob("*.plan")) - before)
    print(f"{tried} programs from seed {given.seed}; {len(found)} failures", *found, sep="\n  ")
    return int(bool(found))


def work(given: argparse.Namespace) -> int:
    """Some programs in this process."""
    import torch

    from support.poison import installed
    from support.random_programs import campaign

    faulthandler.enable()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    running = given.out / f"running.{os.getpid()}"
    count = given.out / f"count.{os.getpid()}"

    def about(seed: int, program: object) -> None:
        running.write_text(program.text, encoding="utf-8")  # pyright: ignore
        count.write_text(str(seed - given.seed + 1))

    seeds = iter(range(given.seed, given.seed + _PROGRAMS))
    with installed():
        for seed, program, failure in campaign.run(seeds, 60 * given.minutes, about=about):
            path = campaign.keep(given.out, seed, program, failure)
            print(f"{path}: {str(failure).splitlines()[0]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
