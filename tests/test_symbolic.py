"""Sizes that stay symbols: putting numbers into a symbolic graph gives the graph elaborated with the numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from planform import PlanError
from planform.api.locate import EXAMPLES
from planform.api.plan_file import PlanFile
from planform.compiler.cost import cost
from planform.compiler.graph.graph import Graph
from planform.compiler.sizes.dims import Size, evaluate, free_symbols
from planform.dsl.syntax import Claim, Number

PLANS = sorted(EXAMPLES.glob("*/*.plan"))


def symbols(graph: Graph) -> list[str]:
    """The free sizes of a graph's inputs."""
    return sorted({name for value in graph.inputs for size in value.shape for name in free_symbols(size)})


def shapes(graph: Graph, sizes: dict[str, int]) -> list[list[tuple[int, ...]]]:
    """The shape of every value with the sizes put in."""

    def known(size: Size) -> int:
        return size if isinstance(size, int) else evaluate(size, sizes)

    return [[tuple(known(size) for size in value.shape) for value in node.results] for node in graph.nodes]


def candidates(file: PlanFile, names: list[str], rng: random.Random) -> Iterator[dict[str, int]]:
    """Sizes to try: those that the file's claims bind, then random ones, multiples of 32 or a little off."""
    for claim in file.syntax.items:
        if isinstance(claim, Claim):
            bound = {b.name: b.value.value for b in claim.bindings if isinstance(b.value, Number)}
            if set(bound) == set(names):
                yield {**bound, "B": rng.choice([1, 2, 3])} if "B" in bound else bound
    for _ in range(8):
        off = rng.choice([0, rng.randint(1, 9)])
        yield {name: rng.choice([1, 2, 3]) if name == "B" else 32 * rng.randint(4, 9) + off for name in names}


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_substitution_equals_elaboration(path: Path) -> None:
    file = PlanFile(path)
    plan = file.plan()
    symbolic = file.program(plan).graph
    names = symbols(symbolic)
    rng = random.Random(path.stem)
    compared = 0
    for sizes in candidates(file, names, rng):
        try:
            concrete = file.program(plan, sizes, None, ("eval",)).graph
        except PlanError:
            continue  # the plan's own requirements do not admit these sizes
        assert [str(node.op.title) for node in symbolic.nodes] == [
            str(node.op.title) for node in concrete.nodes
        ]
        assert shapes(symbolic, sizes) == shapes(concrete, {})
        ours, theirs = cost(symbolic, sizes).to_dict(), cost(concrete).to_dict()
        for figure in ("params", "macs", "flops", "activations", "bytes"):
            assert ours[figure] == theirs[figure], figure
        compared += 1
        if compared == 3:
            return
    assert compared, "no size was admitted"
