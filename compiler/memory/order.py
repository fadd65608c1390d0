"""Orders of tasks that need little memory: three heuristics, and the least peak where the search is small."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

from .problem import Problem

Order = tuple[int, ...]

# Steps that the exact search may look at: so many, and so many for each task.
_STEPS, _STEPS_PER_TASK = 2000, 40


def given(problem: Problem) -> Order:
    """The order in which the tasks stand."""
    return tuple(range(len(problem.tasks)))


def greedy(problem: Problem) -> Order:
    """From the first task on, that which leaves the least memory in use; among equals that which needs
    least.
    """
    waiting = [len(before) for before in problem.before]
    ready = [task for task, count in enumerate(waiting) if not count]
    order: list[int] = []
    done = 0
    while ready:
        task = min(ready, key=lambda task: (*reversed(problem.rise(done, task)), task))
        ready.remove(task)
        order.append(task)
        done |= 1 << task
        for later in problem.behind[task]:
            waiting[later] -= 1
            if not waiting[later]:
                ready.append(later)
    return tuple(order)


def backward(problem: Problem) -> Order:
    """From the last task back, that which leaves the least memory in use before it."""
    waiting = [len(behind) for behind in problem.behind]
    ready = [task for task, count in enumerate(waiting) if not count]
    sizes = problem.rounded
    live = set(problem.kept)
    order: list[int] = []

    def rise(task: int) -> int:
        needed = sum([sizes[b] for b in set(problem.tasks[task].reads) if b not in live])
        return needed - sum([sizes[b] for b in problem.tasks[task].writes if b in live])

    while ready:
        task = min(ready, key=lambda task: (rise(task), -task))
        ready.remove(task)
        order.append(task)
        live.difference_update(problem.tasks[task].writes)
        live.update(problem.tasks[task].reads)
        for earlier in problem.before[task]:
            waiting[earlier] -= 1
            if not waiting[earlier]:
                ready.append(earlier)
    return tuple(reversed(order))


def depth_first(problem: Problem) -> Order:
    """Each task right after what it needs, the most demanding operand first.

    The rule of Sethi and Ullman (1970) for registers, on trees the best that computes each operand whole
    before the next; on other graphs an estimate.
    """
    sizes = problem.rounded
    needs: list[int] = []
    held: list[int] = []
    sorted_before: list[list[int]] = []
    for number, task in enumerate(problem.tasks):
        before = sorted(problem.before[number], key=lambda each: held[each] - needs[each])
        sorted_before.append(before)
        need = sum_held = 0
        for each in before:
            need = max(need, sum_held + needs[each])
            sum_held += held[each]
        written = sum([sizes[buffer] for buffer in task.writes])
        needs.append(max(need, sum_held + written))
        held.append(written)
    order: list[int] = []
    done: set[int] = set()
    for last in [task for task, behind in enumerate(problem.behind) if not behind]:
        stack = [last]
        while stack:
            task = stack[-1]
            missing = [each for each in sorted_before[task] if each not in done]
            if missing:
                stack.append(missing[0])
            else:
                stack.pop()
                if task not in done:
                    done.add(task)
                    order.append(task)
    return tuple(order)


HEURISTICS: tuple[Callable[[Problem], Order], ...] = (given, greedy, backward, depth_first)


class Found(NamedTuple):
    """What the exact search found: an order if there is one, and whether the search came to an end."""

    order: Order | None
    complete: bool


def exact(problem: Problem, below: int | None = None, steps: int | None = None) -> Found:
    """An order of the least peak, of those whose peak is lower than `below`.

    A search over the sets of tasks that have run, the lowest peak first; Ahn et al. (arXiv:2003.02369) go
    over the same sets by dynamic programming. A task that leaves no more memory in use than there was and
    does not raise the peak runs at once, since running it later is never better. The search gives up after
    so many `steps`.
    """
    count = len(problem.tasks)
    left = _STEPS + _STEPS_PER_TASK * count if steps is None else steps
    full = (1 << count) - 1
    needed = [sum([1 << each for each in before]) for before in problem.before]
    start = _State(problem.least(), count, 0, 0, 0, tuple([t for t in range(count) if not needed[t]]), None)
    heap = [start]
    seen: set[int] = set()
    made = 0
    while heap:
        state = heappop(heap)
        if state.done in seen:
            continue
        if state.done == full:
            return Found(_unrolled(state.path), True)
        seen.add(state.done)
        left -= len(state.ready)
        if left < 0:
            return Found(None, False)
        moves = [(task, *problem.rise(state.done, task)) for task in state.ready]
        for task, during, after in moves:
            if after <= 0 and state.live + during <= state.peak:
                moves = [(task, during, after)]
                break
        for task, during, after in moves:
            peak = max(state.peak, state.live + during)
            done = state.done | 1 << task
            if done in seen or (below is not None and peak >= below):
                continue
            made += 1
            opened = [each for each in problem.behind[task] if not needed[each] & ~done]
            ready = (*[each for each in state.ready if each != task], *opened)
            path = _Path(task, state.path)
            heappush(heap, _State(peak, state.left - 1, made, done, state.live + after, ready, path))
    return Found(None, True)


class _Path(NamedTuple):
    """The last task of a way through the search, and the way before."""

    task: int
    before: _Path | None


class _State(NamedTuple):
    """Tasks that have run, and how; compared by peak, then by what is left, then by age."""

    peak: int
    left: int
    number: int
    done: int
    live: int
    ready: tuple[int, ...]
    path: _Path | None


def _unrolled(path: _Path | None) -> Order:
    found: list[int] = []
    while path is not None:
        found.append(path.task)
        path = path.before
    return tuple(reversed(found))
