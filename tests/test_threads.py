"""Threads that elaborate, check and build at the same time get what one alone gets."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import pytest

from planform.api.plan_file import PlanFile
from planform.compiler.once import once
from planform.compiler.sizes.dims import Dim, Size, render, symbol

T = TypeVar("T")
THREADS = 4

# Each leaves guards of its own kind: equal sizes, divisible ones, and ones that are large enough.
BODIES = [
    ("[B, 8, H, W]", 'return x -> rearrange("b c (h i) (w j) -> b (h w) (i j c)", i={n}, j=2)'),
    ("[B, C, H]", "return reshape(x, [B, C * H]) + reshape(x[:, :, :: {n}], [B, -1])"),
    ("[B, 4, H, W]", "return matmul(x, x[:, :, :{n}, :])"),
    ("[B, L, 6]", "require L % {n} == 0\n    return x -> reshape([B, L // {n}, {n} * 6]) -> fc: linear(3)"),
    ("[B, 4, H, W]", "return x -> c: conv(8, {n}) -> max_pool({n})"),
]


def texts() -> list[str]:
    return [
        f"planform 1\nmodel net(x: {shape}) {{\n    {body.format(n=n)}\n}}\nplan p = net()\n"
        for n in (2, 3, 5)
        for shape, body in BODIES
    ]


def described(text: str) -> list[Any]:
    """Shapes and guards of both modes of a plan that is read anew."""
    file = PlanFile.from_text(text)
    modes = file.modes("p")
    graphs = [modes.graph(mode) for mode in ("eval", "train")]
    shapes = [str(value.type) for graph in graphs for node in graph.nodes for value in node.results]
    return [shapes, *([str(guard) for guard in graph.guards] for graph in graphs)]


@pytest.fixture(autouse=True)
def often_switched() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(job: Callable[[int], T]) -> list[T]:
    """What threads that start together return."""
    barrier = Barrier(THREADS)

    def run(number: int) -> T:
        barrier.wait()
        return job(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def test_guards_stay_with_the_graph_that_needs_them() -> None:
    alone = {text: described(text) for text in texts()}
    assert all(any(guards for guards in found[1:]) for found in alone.values())

    def build(number: int) -> list[str]:
        order = texts()[number:] + texts()[:number]
        # New names, so that nothing is taken from memory.
        wrong: list[str] = []
        for again in range(2):
            for text in order:
                suffix = f"{number}n{again}"
                wanted = [[fresh(part, suffix) for part in parts] for parts in alone[text]]
                if described(fresh(text, suffix)) != wanted:
                    wrong.append(text)
        return wrong

    assert at_once(build) == [[]] * THREADS


def fresh(text: str, suffix: str) -> str:
    """A text with sizes called otherwise, in the same alphabetical order."""
    return re.sub(r"\b([BCHLW])\b", rf"\g<1>{suffix}", text)


def test_one_file_gives_all_threads_the_same_graphs() -> None:
    file = PlanFile.from_text(texts()[0])
    programs = at_once(lambda _: file.program("p"))
    assert all(program is programs[0] for program in programs)


def test_a_size_is_one_object() -> None:
    def make(_: int) -> list[Size]:
        base = symbol("thread_base")
        return [(base + n) // (n + 2) * (base + 3 * n) for n in range(300)]

    first, *others = at_once(make)
    assert all(isinstance(size, Dim) for size in first)
    for other in others:
        assert all(a is b for a, b in zip(first, other, strict=True)), [render(size) for size in other]


def test_what_is_made_once_is_one_object() -> None:
    made: list[object] = []

    @once
    def thing() -> object:
        made.append(object())
        return made[-1]

    assert all(found is made[0] for found in at_once(lambda _: thing())) and len(made) == 1
    thing.forget()
    assert thing() is not made[0] and len(made) == 2
