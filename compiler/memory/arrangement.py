"""An order of the tasks and a place for each buffer: the best of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PlanformError
from .offsets import Block, height, pack
from .order import HEURISTICS, Order, exact, given
from .problem import Problem, check_order


class MemoryPlanError(PlanformError):
    """A plan in which a buffer is overwritten while it is needed: a fault of whoever made the plan."""


@dataclass(frozen=True)
class Arrangement:
    """When the tasks of a problem run and where its buffers are.

    `first` and `last` are the steps (places in `order`) between which a buffer is in use, both included.
    `over` has the results that stand in the place of an operand, with that operand. `live` are the bytes in
    use while each step runs, and `size` those of the arena. `least` says that no order has a lower `bound`.
    """

    problem: Problem
    order: Order
    offsets: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    over: dict[int, int]
    live: tuple[int, ...]
    size: int
    least: bool

    @property
    def bound(self) -> int:
        """The most bytes live at once: no arena for this order is smaller."""
        return max(self.live, default=0)

    @property
    def peak(self) -> int:
        """The first step at which so many bytes are live."""
        return self.live.index(self.bound) if self.live else 0


def arrange(problem: Problem, reorder: bool = True, in_place: bool = True) -> Arrangement:
    """Order the tasks and place the buffers so that the arena is small.

    Without `reorder` the tasks run as they stand; without `in_place` no result takes the place of an operand.
    Deterministic. The result is checked by `check`.
    """
    if not in_place:
        problem = problem.without_overlays()
    orders, least = _orders(problem) if reorder else ([given(problem)], None)
    best: Arrangement | None = None
    for order in orders:
        if best is None or problem.peak(order) < best.size:
            found = place(problem, order, least)
            if best is None or found.size < best.size:
                best = found
    assert best is not None
    check(best)
    return best


def _orders(problem: Problem) -> tuple[list[Order], int | None]:
    """Orders from the lowest peak on, of equal peaks the given one first; and the least peak of all, if
    known.
    """
    orders = sorted(dict.fromkeys([rule(problem) for rule in HEURISTICS]), key=problem.peak)
    peak = problem.peak(orders[0])
    if peak == problem.least():
        return orders, peak
    better, complete = exact(problem, below=peak)
    if better is not None:
        return [better, *orders], problem.peak(better)
    return orders, peak if complete else None


def place(problem: Problem, order: Sequence[int], least: int | None = None) -> Arrangement:
    """The buffers of tasks in an order, in an arena; `least` is the lowest peak of all orders, if known."""
    check_order(problem, order)
    first, last = [0] * len(problem.sizes), [0] * len(problem.sizes)
    over: dict[int, int] = {}
    done = 0
    for step, task in enumerate(order):
        over |= problem.taken(done, task)
        done |= 1 << task
        for buffer in problem.tasks[task].writes:
            first[buffer] = last[buffer] = step
        for buffer in problem.tasks[task].reads:
            last[buffer] = step
    for buffer in problem.kept:
        last[buffer] = max(len(order) - 1, 0)
    # A chain of results in each other's place is one block, as large as the largest of them.
    root: dict[int, int] = {}
    for task in order:
        for buffer in problem.tasks[task].writes:
            root[buffer] = root[over[buffer]] if buffer in over else buffer
    spans: dict[int, Block] = {}
    for buffer, head in root.items():
        known = spans.get(head, Block(first[buffer], last[buffer], 0))
        spans[head] = Block(
            min(known.first, first[buffer]),
            max(known.last, last[buffer]),
            max(known.size, problem.rounded[buffer]),
        )
    blocks = list(spans.values())
    placed = pack(blocks)
    where = dict(zip(spans, placed, strict=True))
    offsets = tuple([where[root[buffer]] for buffer in range(len(problem.sizes))])
    live = tuple(problem.profile(order))
    size = height(blocks, placed)
    proved = least is not None and max(live, default=0) == least
    return Arrangement(problem, tuple(order), offsets, tuple(first), tuple(last), over, live, size, proved)


def check(found: Arrangement) -> None:
    """Raise `MemoryPlanError` unless every task finds its operands as they were written.

    The tasks are run with marks in place of bytes: a result marks its extent, and whatever it overlaps is
    lost. This uses the order, the offsets and the reads and writes alone, neither steps nor what the
    planner knew.
    """
    problem = found.problem
    check_order(problem, found.order)
    present: dict[int, tuple[int, int]] = {}
    for task in found.order:
        reads, writes = problem.tasks[task].reads, problem.tasks[task].writes
        for buffer in reads:
            if buffer not in present:
                raise MemoryPlanError(f"task {task} reads buffer {buffer}, which has been overwritten")
        made: dict[int, tuple[int, int]] = {}
        for buffer in writes:
            start = found.offsets[buffer]
            end = start + problem.sizes[buffer]
            if start < 0 or start % problem.alignment or end > found.size:
                raise MemoryPlanError(f"buffer {buffer} is at {start}, which is not a place in the arena")
            for other, extent in made.items():
                if _overlap((start, end), extent):
                    raise MemoryPlanError(
                        f"task {task} writes buffers {buffer} and {other} to the same place"
                    )
            made[buffer] = start, end
            for other in [each for each, extent in present.items() if _overlap((start, end), extent)]:
                exact_place = (
                    present[other] == (start, end) and (buffer, other) in problem.tasks[task].overlays
                )
                if other in reads and not exact_place:
                    raise MemoryPlanError(f"task {task} overwrites buffer {other} while it reads it")
                del present[other]
        present |= made
    for buffer in problem.kept:
        if buffer not in present:
            raise MemoryPlanError(f"buffer {buffer} is overwritten, and is a result")


def _overlap(left: tuple[int, int], right: tuple[int, int]) -> bool:
    return max(left[0], right[0]) < min(left[1], right[1])
