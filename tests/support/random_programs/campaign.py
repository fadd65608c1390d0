"""Many programs, one after the other, until a time is over; each new kind of failure is kept, made small."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .grow import grow
from .judge import BACKENDS, QUICK, Failure, Refused, failures
from .shrink import shrink
from .text import RandomProgram

_WORD = re.compile(r"\b([a-z]\w*)\(")


def backends_for(seed: int, thorough: bool) -> tuple[str, ...]:
    """Those of every program, and by chance some that take their time."""
    rng = random.Random(f"backends {seed}")
    more = {"deploy bound": 0.3, "emitted deploy": 0.3, "tvm linked": 0.1, "cuda": 0.15, "train": 0.4}
    return (*QUICK, *[name for name, chance in more.items() if thorough and rng.random() < chance])


def run(
    seeds: Iterator[int],
    seconds: float,
    thorough: bool = True,
    about: Callable[[int, RandomProgram], None] = lambda seed, program: None,
    patience: float = 60,
) -> Iterator[tuple[int, RandomProgram, Failure]]:
    """Failures of the programs of those seeds, made small, each kind once. `about` is told what is run."""
    end = time.monotonic() + seconds
    seen: set[str] = set()
    for seed in seeds:
        if time.monotonic() > end:
            return
        program = grow(seed)
        about(seed, program)
        try:
            found = list(failures(program.text, backends_for(seed, thorough)))
        except Refused:
            continue
        for failure in found:
            small, less = shrink(program, failure, patience)
            key = f"{less.kind} {signature(small)}"
            if key not in seen:
                seen.add(key)
                yield seed, small, less


def signature(program: RandomProgram) -> str:
    """The operators of a program; those of a failure made small tell its cause."""
    words = {word for statement in program.statements for word in _WORD.findall(statement.expression)}
    return " ".join(sorted(words))


def report(seed: int, program: RandomProgram, failure: Failure) -> str:
    """A failure as a file that can be kept: the program, and what is wrong as comments."""
    lines = [f"# {line}" for line in f"seed {seed}; {failure}".splitlines()]
    head, rest = program.text.split("\n", 1)
    return "\n".join([head, f"# backends: {failure.backend}", rest.rstrip("\n"), *lines, ""])


def keep(folder: Path, seed: int, program: RandomProgram, failure: Failure) -> Path:
    """Write a failure to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "_", f"{failure.backend} {signature(program)}")[:60]
    path = folder / f"{name}_{seed}.plan"
    path.write_text(report(seed, program, failure), encoding="utf-8")
    return path


__all__ = ["BACKENDS", "backends_for", "keep", "report", "run", "signature"]
