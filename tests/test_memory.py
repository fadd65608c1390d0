"""Memory plans: against arithmetic by hand, all orders of small problems, and a run with real bytes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planform
from planform.compiler.graph.graph import Graph
from planform.compiler.memory import (
    BindingError,
    MemoryPlan,
    MemoryPlanError,
    Problem,
    Task,
    arrange,
    check,
    plan_memory,
)
from planform.compiler.memory.offsets import Block, height, live_bytes, pack
from planform.compiler.memory.order import HEURISTICS, exact
from planform.compiler.memory.problem import check_order
from planform.compiler.sizes.dims import symbol
from support.graphs import Net, resnet

# --- random problems ---


@st.composite
def problems(draw: st.DrawFn, most: int = 7) -> Problem:
    """Tasks that read some of what earlier ones wrote; sizes in multiples of 64, overlays where they fit."""
    sizes: list[int] = []
    tasks: list[Task] = []
    for _ in range(draw(st.integers(1, most))):
        reads = draw(st.lists(st.integers(0, len(sizes) - 1), max_size=3, unique=True)) if sizes else []
        writes: list[int] = []
        overlays: list[tuple[int, int]] = []
        for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
            copied = draw(st.sampled_from([None, *reads]))
            sizes.append(sizes[copied] if copied is not None else draw(st.integers(0, 6)) * 64 - draw(_slack))
            sizes[-1] = max(sizes[-1], 0)
            writes.append(len(sizes) - 1)
            if copied is not None and draw(st.booleans()):
                overlays.append((writes[-1], copied))
        after = draw(st.lists(st.integers(0, len(tasks) - 1), max_size=1)) if tasks else []
        tasks.append(Task(tuple(reads), tuple(writes), tuple(overlays), tuple(after)))
    kept = draw(st.sets(st.integers(0, len(sizes) - 1), max_size=2))
    return Problem(tuple(sizes), tuple(tasks), frozenset(kept))


_slack = st.sampled_from((0, 0, 3, 60))


def live_by_hand(problem: Problem, order: tuple[int, ...]) -> int:
    """The peak of an order, found by walking through it with a set of buffers; overlays are not considered."""
    most = 0
    live: set[int] = set()
    for step, task in enumerate(order):
        live |= set(problem.tasks[task].writes)
        most = max(most, sum(-(-problem.sizes[b] // 64) * 64 for b in live))
        later = {b for each in order[step + 1 :] for b in problem.tasks[each].reads}
        live &= later | problem.kept
    return most


def possible(problem: Problem) -> list[tuple[int, ...]]:
    """Every order of the tasks that their needs allow."""
    found: list[tuple[int, ...]] = []
    for order in permutations(range(len(problem.tasks))):
        place = {task: at for at, task in enumerate(order)}
        if all(place[each] < place[task] for task, needed in enumerate(problem.before) for each in needed):
            found.append(order)
    return found


def run_with_bytes(problem: Problem, order: tuple[int, ...], offsets: tuple[int, ...], size: int) -> None:
    """Run the tasks on an arena of real bytes: each result is filled with its number, operands must hold theirs.

    As an elementwise kernel would, a task reads byte by byte what it then writes at the same place.
    """
    arena = bytearray(b"\xff" * size)
    for task in order:
        for buffer in problem.tasks[task].reads:
            start = offsets[buffer]
            assert arena[start : start + problem.sizes[buffer]] == bytes([buffer]) * problem.sizes[buffer]
        for buffer in problem.tasks[task].writes:
            start, end = offsets[buffer], offsets[buffer] + problem.sizes[buffer]
            assert end <= size
            arena[start:end] = bytes([buffer]) * problem.sizes[buffer]
        for buffer in problem.tasks[task].writes:
            start = offsets[buffer]
            assert arena[start : start + problem.sizes[buffer]] == bytes([buffer]) * problem.sizes[buffer]
    for buffer in problem.kept:
        start = offsets[buffer]
        assert arena[start : start + problem.sizes[buffer]] == bytes([buffer]) * problem.sizes[buffer]


@settings(max_examples=150, deadline=None)
@given(problems(most=12), st.booleans(), st.booleans())
def test_nothing_is_overwritten_while_it_is_needed(problem: Problem, reorder: bool, in_place: bool) -> None:
    found = arrange(problem, reorder, in_place)
    run_with_bytes(problem, found.order, found.offsets, found.size)
    assert found.bound <= found.size
    assert all(offset % 64 == 0 for offset in found.offsets)
    # Two buffers in use at one step are apart, unless one stands in the place of the other.
    for a in range(len(problem.sizes)):
        for b in range(a):
            together = found.first[a] <= found.last[b] and found.first[b] <= found.last[a]
            apart = max(found.offsets[a], found.offsets[b]) >= min(
                found.offsets[a] + problem.sizes[a], found.offsets[b] + problem.sizes[b]
            )
            assert apart or not together or found.over.get(a) == b or found.over.get(b) == a
    if not in_place:
        assert not found.over


@settings(max_examples=100, deadline=None)
@given(problems())
def test_orders_against_all_orders(problem: Problem) -> None:
    plain = problem.without_overlays()
    orders = possible(problem)
    for order in orders[:20]:
        assert plain.peak(order) == live_by_hand(plain, order)
    for some in (plain, problem):
        least = min(some.peak(order) for order in orders)
        best = exact(some)
        assert best.order is not None
        assert best.complete
        assert some.peak(best.order) == least
        assert exact(some, below=least) == (None, True)
        assert some.least() <= least
        for rule in HEURISTICS:
            order = rule(some)
            check_order(some, order)
            assert some.peak(order) >= least
        found = arrange(some)
        assert not found.least or found.bound == least


def least_peak(problem: Problem) -> int:
    """The least peak of all orders, from the least peaks of all sets of tasks that may have run."""
    count = len(problem.tasks)
    reached = {0: (0, 0)}
    for done in range(1 << count):
        if done not in reached:
            continue
        peak, live = reached[done]
        for task in range(count):
            if not done >> task & 1 and all(done >> each & 1 for each in problem.before[task]):
                during, after = problem.rise(done, task)
                then = (max(peak, live + during), live + after)
                reached[done | 1 << task] = min(reached.get(done | 1 << task, then), then)
    return reached[(1 << count) - 1][0]


@pytest.mark.parametrize("seed", range(8))
def test_the_search_is_exact(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        sizes: list[int] = []
        tasks: list[Task] = []
        for _ in range(rng.randint(6, 10)):
            reads = tuple(sorted(rng.sample(range(len(sizes)), min(len(sizes), rng.randint(0, 2)))))
            sizes.append(sizes[reads[0]] if reads and rng.random() < 0.3 else 64 * rng.randint(1, 9))
            overlays = tuple((len(sizes) - 1, each) for each in reads if sizes[each] == sizes[-1])
            tasks.append(Task(reads, (len(sizes) - 1,), overlays if rng.random() < 0.7 else ()))
        problem = Problem(tuple(sizes), tuple(tasks), frozenset(rng.sample(range(len(sizes)), 2)))
        order, complete = exact(problem, steps=10**6)
        assert complete
        assert order is not None
        assert problem.peak(order) == least_peak(problem)


def test_a_search_that_is_too_long_gives_up() -> None:
    # Twelve independent chains: 3**12 sets of tasks.
    tasks = [task for n in range(12) for task in (Task((), (2 * n,)), Task((2 * n,), (2 * n + 1,)))]
    problem = Problem((128, 64) * 12, tuple(tasks), frozenset(range(1, 24, 2)))
    assert exact(problem, steps=100) == (None, False)
    assert arrange(problem).bound == 12 * 64 + 128


_blocks = st.lists(
    st.builds(
        lambda first, length, size: Block(first, first + length, 64 * size),
        st.integers(0, 12),
        st.integers(0, 6),
        st.integers(0, 9),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(_blocks)
def test_blocks_are_packed_apart(blocks: list[Block]) -> None:
    offsets = pack(blocks)
    assert height(blocks, offsets) >= live_bytes(blocks)
    for a, x in zip(blocks, offsets, strict=True):
        assert x % 64 == 0
        for b, y in zip(blocks, offsets, strict=True):
            together = a.first <= b.last and b.first <= a.last
            assert a is b or not together or x + a.size <= y or y + b.size <= x
    # Never worse than one after the other.
    assert height(blocks, offsets) <= sum(block.size for block in blocks)


def test_a_false_plan_is_refused() -> None:
    # 0 -> 1 -> 2, and 0 is read again at the end.
    problem = Problem((64, 64, 64), (Task((), (0,)), Task((0,), (1,)), Task((1, 0), (2,))), frozenset({2}))
    good = arrange(problem)
    assert good.size == 192
    for offsets, message in (
        ((0, 0, 64), "overwrites buffer 0 while it reads it"),
        ((0, 64, 64), "overwrites buffer 1 while it reads it"),
        ((0, 64, 100), "not a place in the arena"),
        ((0, 64, 192), "not a place in the arena"),
    ):
        with pytest.raises(MemoryPlanError, match=message):
            check(replace(good, offsets=offsets))
    later = Problem((64, 64, 64), (Task((), (0,)), Task((), (1,)), Task((0, 1), (2,))))
    with pytest.raises(MemoryPlanError, match="has been overwritten"):
        check(replace(arrange(later), offsets=(0, 0, 64)))
    with pytest.raises(ValueError, match="which it needs"):
        check(replace(good, order=(1, 0, 2)))


# --- graphs ---


def small(results: int = 1) -> Graph:
    """Sixteen floats through relu, exp, a reshape, and a sum with what relu gave."""
    net = Net("small")
    x = net.input("x", 4, 4)
    y = net.call("relu", x)
    z = net.call("flatten", net.call("exp", y), start=0)
    z = net.call("add", net.call("reshape", z, sizes=(4, 4)), y)
    return net.freeze(net.call("softmax", z, axis=-1))


def test_liveness_by_hand() -> None:
    plan = plan_memory(small(), alignment=4, in_place=False, reorder=False)
    # relu | relu exp | relu exp add | add softmax
    assert [step.live for step in plan.steps] == [64, 128, 192, 128]
    assert (plan.size, plan.lower_bound, plan.peak) == (192, 192, 2)
    assert plan.outside == {"inputs": 64, "weights": 0, "constants": 0, "results": 0}
    assert [len(buffer.values) for buffer in plan.buffers] == [1, 3, 1, 1]


def test_in_place_by_hand() -> None:
    plan = plan_memory(small(), alignment=4)
    # relu is the caller's input's copy; exp may not take its place (add reads it); add may take that of exp.
    assert [step.live for step in plan.steps] == [64, 128, 128, 128]
    assert plan.in_place == 1
    assert plan.size == 128
    assert plan.given_peak == 192


def test_inputs_and_results_may_be_planned() -> None:
    with_inputs = plan_memory(small(), alignment=4, inputs=True)
    assert with_inputs.outside["inputs"] == 0
    # relu takes the input's place.
    assert [step.live for step in with_inputs.steps] == [64, 64, 128, 128, 128]
    without_results = plan_memory(small(), alignment=4, results=False)
    assert without_results.outside["results"] == 64
    assert [step.live for step in without_results.steps] == [64, 128, 128, 64]


def test_inputs_and_weights_are_never_overwritten() -> None:
    net = Net("reader")
    x = net.input("x", 8)
    w = net.weight("w", 8)
    graph = net.freeze(net.call("add", net.call("mul", x, w), net.call("exp", w)))
    plan = plan_memory(graph)
    # The sum takes the place of the product; the product that of neither operand; exp(w) is computed before.
    assert [buffer.over for buffer in plan.buffers] == [None, plan.buffers[0].values[0]]
    assert plan.outside == {"inputs": 32, "weights": 32, "constants": 32, "results": 0}
    assert len(plan.steps) == 2


def test_views_are_dense() -> None:
    net = Net("views")
    x = net.call("relu", net.input("x", 1, 4, 6))
    same = net.call("permute", x, axes=(1, 0, 2))
    moved = net.call("permute", x, axes=(0, 2, 1))
    part = net.call("slice", x, axis=1, stop=2)
    whole = net.call("slice", x, axis=1, stop=9)
    plan = plan_memory(net.freeze(same, moved, part, whole), in_place=False)
    assert plan.offsets[same] == plan.offsets[x] == plan.offsets[whole]
    assert len({plan.offsets[value] for value in (x, moved, part)}) == 3


@pytest.mark.parametrize(
    ("call", "shapes", "allowed"),
    [
        ("relu", [(4, 6)], True),
        ("add", [(4, 6), (6,)], True),
        ("add", [(4, 6), (1, 4, 6)], True),
        ("add", [(1, 6), (4, 1)], False),  # the result is larger than both
        ("gt", [(4, 6), (4, 6)], False),  # booleans for floats
        ("softmax", [(4, 6)], False),  # rows are read as a whole
        ("matmul", [(4, 4), (4, 4)], False),
    ],
)
def test_what_may_be_in_place(call: str, shapes: list[tuple[int, ...]], allowed: bool) -> None:
    net = Net("one")
    operands = [net.call("exp", net.input(f"x{n}", *shape)) for n, shape in enumerate(shapes)]
    arguments: dict[str, Any] = {"axis": -1} if call == "softmax" else {}
    plan = plan_memory(net.freeze(net.call(call, *operands, **arguments)))
    assert plan.in_place == int(allowed)


def test_batch_norm_is_elementwise_in_eval_mode() -> None:
    net = Net("norm")
    x = net.call("conv", net.input("x", 1, 4, 8, 8), label="c", out=4, kernel=1)
    graph = net.freeze(net.call("batch_norm", x, label="n"))
    assert plan_memory(graph).in_place == 1
    assert plan_memory(graph).size == 4 * 8 * 8 * 4


def test_an_order_with_a_lower_peak_is_found() -> None:
    # Branches that grow wide and end narrow: one after the other needs one wide value at a time.
    net = Net("branches")
    x = net.input("x", 1, 2)
    wide = [net.call("expand", net.call("exp", x), sizes=(512, 2)) for _ in range(4)]
    wide = [net.call("tile", value, repeats=(1, 4)) for value in wide]
    narrow = [net.call("sum", value) for value in wide]
    graph = net.freeze(net.call("stack", *narrow, axis=0))
    given_order = plan_memory(graph, reorder=False)
    plan = plan_memory(graph)
    assert plan.least
    # expand writes 4 KiB, tile 16 KiB and sum 64 bytes with what alignment adds.
    assert given_order.lower_bound == 4096 + 4 * 16384
    assert plan.lower_bound == 4096 + 16384 + 3 * 64


def test_effects_keep_their_order() -> None:
    # Less would be in use if the second draw came first: its large operand would be gone before the result is made.
    net = Net("random")
    x = net.input("x", 64)
    kept = net.call("dropout", net.call("tile", x, repeats=(8,)), p=0.5)
    small = net.call("sum", net.call("dropout", net.call("tile", x, repeats=(8,)), p=0.5))
    plan = plan_memory(net.freeze(kept, small))
    drawn = [step.node for step in plan.steps if step.node.effects]
    assert drawn == [kept.node, small.node.inputs[0].node]
    assert plan.lower_bound == 3 * 2048


def test_bodies_work_in_room_of_their_own() -> None:
    text = """planform 1
use std (gru_cell)
model network(xs: [T, B, 16], h0: [B, 16]) {
    ys, h = (xs, h0) -> rnn: scan(gru_cell(), axis=0)
    return (ys, h)
}
plan net = network()
"""
    plan = plan_memory(planform.PlanFile.from_text(text).program("net").graph, {"T": 5, "B": 2})
    (room,) = [buffer for buffer in plan.buffers if not buffer.values]
    assert room.node.op.name == "scan_loop"
    assert room.first == room.last
    # The slice, the state before and two products of three gates each, 2 x 16 and 2 x 48 floats; no weights.
    assert 4 * (2 * 2 * 16 + 2 * 2 * 48) <= room.size < 4 * 3 * 16 * 16


def test_sizes_must_be_known() -> None:
    graph = resnet((1, 1, 1, 1), symbol("B"), symbol("H"), symbol("W"))
    with pytest.raises(BindingError, match="has the free sizes B, H, W"):
        plan_memory(graph)
    with pytest.raises(BindingError, match="has no free size Q"):
        plan_memory(graph, {"Q": 3})
    bound = plan_memory(graph, {"B": 2, "H": 64, "W": 64})
    concrete = plan_memory(resnet((1, 1, 1, 1), 2, 64, 64))
    assert bound.size == concrete.size
    assert [step.live for step in bound.steps] == [step.live for step in concrete.steps]


def plan_of(name: str) -> MemoryPlan:
    return plan_memory(planform.load(name).at(B=1, H=224, W=224).graph)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        # The shortcut's convolution: its result and the main branch's, 256 channels each, and its operand's 64.
        ("resnet50", (2 * 256 + 64) * 56 * 56 * 4),
        # The strided depthwise convolution of the second stage: 96 channels before and after.
        ("mobilenetv2_100", 96 * (112**2 + 56**2) * 4),
    ],
)
def test_peaks_of_known_networks(name: str, peak: int) -> None:
    plan = plan_of(name)
    assert plan.size == plan.lower_bound == peak
    assert plan.least


def test_half_floats_take_half() -> None:
    graph = resnet()
    assert plan_memory(graph, float_as="f16").size * 2 == plan_memory(graph).size


# --- the command ---


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "planform", "memory", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout or done.stderr


def test_the_command_as_json(tmp_path: Path) -> None:
    picture = tmp_path / "memory.svg"
    found = json.loads(
        run("resnet18", "--at", "B=1,H=64,W=64", "--json", "--svg", str(picture), "--no-reorder")
    )
    assert found["kind"] == "memory"
    assert found["size"] >= found["lower_bound"] == max(step["live"] for step in found["steps"])
    peak = found["steps"][found["peak"]]
    assert peak["live"] == found["lower_bound"]
    assert "resnet.plan:" in peak["place"]
    live = [b for b in found["buffers"] if b["first"] <= found["peak"] <= b["last"]]
    assert sum(b["size"] for b in live if b["over"] is None) <= found["size"]
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 1 + len(found["buffers"])


def test_the_command_for_people() -> None:
    text = run("resnet18", "--at", "B=1,H=64,W=64")
    assert "resnet.plan:" in text
    assert "peak" in text


def test_the_command_says_what_is_not_bound() -> None:
    text = run("resnet18", code=2)
    assert "free sizes B, H, W" in text
    assert "--at" in text


def test_the_benchmark_does_without_tvm() -> None:
    code = (
        "import runpy, sys; sys.modules['tvm'] = None; sys.argv = ['memory.py'];"
        "runpy.run_path('benchmarks/memory.py', run_name='__main__')"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert "TVM is not installed" in done.stderr
