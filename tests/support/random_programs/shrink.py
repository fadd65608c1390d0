"""Makes a failing program small: whatever can go without the failure going too, goes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from .grow import bound
from .judge import Failure, Refused, failures
from .reference import shapes_of
from .text import Input, RandomProgram, Statement

_NUMBER = re.compile(r"(?<![\w.])(\d+)(?![\w.])")
_STAGE = re.compile(r" -> (?:\w+: )?\w+\((?:[^()]|\([^()]*\))*\)")


def shrink(program: RandomProgram, failure: Failure, seconds: float = 60) -> tuple[RandomProgram, Failure]:
    """The smallest program that was come by in that time, which fails alike."""
    end = time.monotonic() + seconds

    def fails(candidate: RandomProgram) -> Failure | None:
        try:
            found = next(failures(candidate.text, (failure.backend,)), None)
        except Refused:
            return None
        return found if found is not None and found.kind == failure.kind else None

    return _smallest(program, failure, fails, lambda: time.monotonic() > end)


def _smallest(
    program: RandomProgram,
    failure: Failure,
    fails: Callable[[RandomProgram], Failure | None],
    late: Callable[[], bool],
) -> tuple[RandomProgram, Failure]:
    tried = {program.text}
    changed = True
    while changed and not late():
        changed = False
        for candidate in _candidates(program):
            candidate = candidate.live()
            if late() or candidate.text in tried or not candidate.statements:
                continue
            tried.add(candidate.text)
            found = fails(candidate)
            if found is not None:
                program, failure, changed = candidate, found, True
                break
    return program, failure


def _candidates(program: RandomProgram) -> Iterator[RandomProgram]:
    """Smaller programs, those that are much smaller first."""
    if program.fold is not None:
        yield replace(program, fold=None)
        if program.twice:
            yield replace(program, twice=False)
    yield from _with_fewer_results(program)
    if len(program.calls) > 1:
        yield replace(program, calls=program.calls[:1])
        yield replace(program, calls=(program.calls[0], program.calls[-1]))
    yield from _cut(program)
    if program.calls[0]:
        yield bound(program, list(program.calls[0]))
        for name in program.calls[0]:
            yield bound(program, [name])
    yield from _simplified(program)
    yield from _with_less(program)


def _with_fewer_results(program: RandomProgram) -> Iterator[RandomProgram]:
    results = program.results
    if len(results) > 1:
        for one in results:
            yield replace(program, results=(one,))
        for number in range(len(results)):
            yield replace(program, results=results[:number] + results[number + 1 :])
    for statement in reversed(program.statements):
        # What a statement reads is a result in its place.
        if set(statement.results) & set(results):
            made = tuple(n for s in program.statements for n in s.results)
            inner = [name for name in statement.operands if name in made]
            if inner:
                rest = tuple(name for name in results if name not in statement.results)
                yield replace(program, results=(*rest, *inner))


def _cut(program: RandomProgram) -> Iterator[RandomProgram]:
    """A statement replaced by inputs, or by what it reads."""
    shapes = shapes_of(program)
    for number in reversed(range(len(program.statements))):
        statement = program.statements[number]
        if any(name in program.results for name in statement.results):
            continue
        others = program.statements[:number] + program.statements[number + 1 :]
        if len(statement.results) == 1:
            for operand in statement.operands:
                if shapes.get(operand) == shapes.get(statement.results[0]):
                    names = {statement.results[0]: operand}
                    yield replace(program, statements=tuple(each.renamed(names) for each in others))
        if all(name in shapes for name in statement.results):
            free = max((int(each.name[1:]) for each in program.inputs), default=-1) + 1
            names = {name: f"x{free + index}" for index, name in enumerate(statement.results)}
            added = tuple(Input(new, *shapes[old]) for old, new in names.items())
            kept = tuple(each.renamed(names) for each in others)
            yield replace(program, inputs=(*program.inputs, *added), statements=kept)


def _simplified(program: RandomProgram) -> Iterator[RandomProgram]:
    """Stages of pipes and arguments left out."""
    for number, statement in enumerate(program.statements):
        for match in _STAGE.finditer(statement.expression):
            yield _with(
                program, number, statement.expression[: match.start()] + statement.expression[match.end() :]
            )
        for match in re.finditer(r", \w+=(?:\[[^\]]*\]|[^,()\[\]]+)(?=[,)])", statement.expression):
            yield _with(
                program, number, statement.expression[: match.start()] + statement.expression[match.end() :]
            )
        for match in re.finditer(
            r"(?:sigmoid|abs|tanh|relu|square|exp|cos|sin)\((\w+)\)", statement.expression
        ):
            head, tail = statement.expression[: match.start()], statement.expression[match.end() :]
            yield _with(program, number, head + match[1] + tail)


def _with(program: RandomProgram, number: int, expression: str) -> RandomProgram:
    changed = Statement(program.statements[number].results, expression)
    rest = program.statements[number + 1 :]
    return replace(program, statements=(*program.statements[:number], changed, *rest))


def _with_less(program: RandomProgram) -> Iterator[RandomProgram]:
    """Smaller numbers, each everywhere that it stands."""
    written = {int(n) for s in program.statements for n in _NUMBER.findall(s.expression)}
    sizes = {size for each in program.inputs for size in each.shape if isinstance(size, int)}
    for old in sorted(written | sizes, reverse=True):
        for new in (1, 2, old // 2, old - 1):
            if 0 < new < old:
                yield _renumbered(program, old, new)
    for name, size in program.calls[0].items():
        for new in (1, 2, size - 1):
            if 0 < new < size:
                yield replace(program, calls=({**program.calls[0], name: new}, *program.calls[1:]))


def _renumbered(program: RandomProgram, old: int, new: int) -> RandomProgram:
    inputs = tuple(
        replace(each, shape=tuple(new if size == old else size for size in each.shape))
        for each in program.inputs
    )
    statements = tuple(
        replace(
            each, expression=_NUMBER.sub(lambda m: str(new) if int(m[1]) == old else m[1], each.expression)
        )
        for each in program.statements
    )
    return replace(program, inputs=inputs, statements=statements)
