"""Contestants in processes of their own, with the same affinity and number of threads.

A worker answers lines of JSON on its standard output. What else the libraries print there goes to standard
error, which is shown if the worker dies.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

# What glibc reads when a process starts: from which size memory is mapped, and how much is kept.
MALLOC: Mapping[str, dict[str, str]] = {
    "default": {},
    "raised": {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)},
}
# A worker may take more time than its threads have by that much, which is what clocks are off by.
_SLACK = 0.2
# A worker that does not answer for so many seconds is ended.
LIMIT = 1200.0
# A worker that waits may take so many seconds of a core: threads spin a little before they sleep.
_RESTLESS = 0.25


class WorkerError(Exception):
    """A worker died, or did not run as it was told; the text says which and why."""


def environment(threads: int, malloc: str = "default", **more: str) -> dict[str, str]:
    """The variables of this process, with a number of threads and settings of malloc."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MALLOC_")}
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TVM_NUM_THREADS")
    return kept | {name: str(threads) for name in variables} | MALLOC[malloc] | more


def affinity() -> list[int]:
    """The cores that the threads of this process run on, all together."""
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found |= os.sched_getaffinity(int(task))
        except ProcessLookupError:
            continue
    return sorted(found)


class Worker:
    """A fresh process that answers one request at a time; `name` is for messages."""

    def __init__(self, name: str, line: Sequence[str], variables: Mapping[str, str]) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            line, env=dict(variables), stdin=pipe, stdout=pipe, stderr=self.errors, text=True
        )

    def ask(self, request: Mapping[str, Any], limit: float = LIMIT) -> dict[str, Any]:
        """The answer; raises `WorkerError`, also if there is none within the limit in seconds."""
        self.send(request)
        return self.answer(limit)

    def send(self, request: Mapping[str, Any]) -> None:
        """Let it begin with a request, whose answer is to be read before there is another."""
        assert self.process.stdin
        # Of one that is dead, reading the answer tells.
        with suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)

    def answer(self, limit: float = LIMIT) -> dict[str, Any]:
        """The answer to what was sent; raises `WorkerError`, also if there is none within the limit."""
        assert self.process.stdout
        # Nothing is left of the answer before, which was read to its end.
        if not select.select([self.process.stdout], [], [], limit)[0]:
            self.process.kill()
            raise WorkerError(f"{self.name}: no answer within {limit:.0f} s")
        answer = self.process.stdout.readline()
        if not answer:
            raise WorkerError(f"{self.name}: {self._last_words()}")
        return json.loads(answer)

    def _last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        return lines[-1] if lines and code > 0 else f"ended with {code}"

    def close(self) -> None:
        """End the process, which has nothing to keep."""
        assert self.process.stdin and self.process.stdout
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check(name: str, answer: Mapping[str, Any], threads: int, cores: Sequence[int]) -> None:
    """Raise `WorkerError` if a worker ran on other threads or cores than all were told to."""
    found = answer["threads"], answer["affinity"]
    if found != (threads, list(cores)):
        raise WorkerError(f"{name} ran {found[0]} threads on cores {found[1]}")
    if answer["busy"] > threads + _SLACK:
        raise WorkerError(f"{name} kept {answer['busy']:.2f} cores busy with {threads} threads")
    if answer["idle"] > _RESTLESS:
        raise WorkerError(f"{name} took {answer['idle']:.2f} s of a core while others had their turn")


@contextmanager
def answers_only() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Keep standard output for the answers, which the function given writes."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(kept, "w") as stream:
        yield lambda answer: print(json.dumps(answer), file=stream, flush=True)
