"""What memory planning is about, without operators: tasks that read and write buffers.

A planner needs to know neither what a task computes nor where it came from, so the operators of a graph,
fused kernels and the kernels of another compiler are planned alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Task:
    """Something that runs at once: a kernel, say.

    `reads` and `writes` are numbers of buffers; a buffer is written by one task. A buffer that is written and
    never read is room to work in. `overlays` are pairs (written, read): the task may put that result in the
    place of that operand, where nothing needs the operand later; of several pairs the first that fits is
    taken. `after` are tasks that must run before, whatever the buffers say.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    overlays: tuple[tuple[int, int], ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Tasks in an order that is possible, and buffers of `sizes` bytes.

    `kept` buffers are needed after the last task. `alignment` is that of offsets, in bytes.
    """

    sizes: tuple[int, ...]
    tasks: tuple[Task, ...]
    kept: frozenset[int] = frozenset()
    alignment: int = ALIGNMENT

    @cached_property
    def rounded(self) -> tuple[int, ...]:
        """The sizes rounded up to the alignment: what a buffer takes up."""
        return tuple([-(-size // self.alignment) * self.alignment for size in self.sizes])

    @cached_property
    def writer(self) -> dict[int, int]:
        """For each buffer, the task that writes it."""
        return {buffer: number for number, task in enumerate(self.tasks) for buffer in task.writes}

    @cached_property
    def readers(self) -> tuple[int, ...]:
        """For each buffer, the tasks that read it, as a set of bits."""
        found = [0] * len(self.sizes)
        for number, task in enumerate(self.tasks):
            for buffer in task.reads:
                found[buffer] |= 1 << number
        return tuple(found)

    @cached_property
    def before(self) -> tuple[tuple[int, ...], ...]:
        """For each task, the tasks that must run before it: those that write what it reads, and `after`."""
        return tuple(
            [
                tuple(dict.fromkeys([self.writer[buffer] for buffer in task.reads] + list(task.after)))
                for task in self.tasks
            ]
        )

    @cached_property
    def behind(self) -> tuple[tuple[int, ...], ...]:
        """For each task, the tasks that must run after it."""
        found: list[list[int]] = [[] for _ in self.tasks]
        for number, tasks in enumerate(self.before):
            for each in tasks:
                found[each].append(number)
        return tuple([tuple(each) for each in found])

    def without_overlays(self) -> Problem:
        """The same where every result gets a place of its own."""
        tasks = tuple([Task(task.reads, task.writes, (), task.after) for task in self.tasks])
        return Problem(self.sizes, tasks, self.kept, self.alignment)

    # What is live depends on the set of tasks that have run, not on their order. Sets are bits of an int.

    def dying(self, done: int, task: int) -> set[int]:
        """The operands that nothing needs once the task has run too."""
        left = ~(done | 1 << task)
        reads = self.tasks[task].reads
        return {buffer for buffer in reads if buffer not in self.kept and not self.readers[buffer] & left}

    def taken(self, done: int, task: int) -> dict[int, int]:
        """The results that take the place of an operand, each with that operand."""
        return self._taken(task, self.dying(done, task))

    def _taken(self, task: int, dying: set[int]) -> dict[int, int]:
        free = set(dying)
        found: dict[int, int] = {}
        for result, operand in self.tasks[task].overlays:
            if result not in found and operand in free:
                found[result] = operand
                free.remove(operand)
        return found

    def rise(self, done: int, task: int) -> tuple[int, int]:
        """By how many bytes memory grows while the task runs, and by how many once it has run."""
        sizes, dying = self.rounded, self.dying(done, task)
        reused = sum([sizes[operand] for operand in self._taken(task, dying).values()])
        freed = sum([sizes[buffer] for buffer in dying])
        written, unread = self._written[task]
        return written - reused, written - freed - unread

    @cached_property
    def _written(self) -> tuple[tuple[int, int], ...]:
        """For each task, the bytes of its results, and of those that nothing reads or keeps."""
        sizes = self.rounded
        found: list[tuple[int, int]] = []
        for task in self.tasks:
            unread = [b for b in task.writes if not self.readers[b] and b not in self.kept]
            found.append((sum([sizes[b] for b in task.writes]), sum([sizes[b] for b in unread])))
        return tuple(found)

    def least(self) -> int:
        """Bytes that no order can do without: those of the most demanding task by itself."""
        sizes, found = self.rounded, sum([self.rounded[buffer] for buffer in self.kept])
        for task in self.tasks:
            reused: dict[int, int] = {}
            for result, operand in task.overlays:
                if result not in reused and operand not in reused.values() and operand not in self.kept:
                    reused[result] = operand
            touched = set(task.reads) | set(task.writes)
            found = max(found, sum([sizes[b] for b in touched]) - sum([sizes[b] for b in reused.values()]))
        return found

    def profile(self, order: Sequence[int]) -> Iterator[int]:
        """Bytes live while each task runs, in an order; operands and results at once."""
        done = live = 0
        for task in order:
            during, after = self.rise(done, task)
            yield live + during
            live += after
            done |= 1 << task

    def peak(self, order: Sequence[int]) -> int:
        """The most bytes live at once in an order; what no arena of that order can do without."""
        return max(self.profile(order), default=0)


def check_order(problem: Problem, order: Sequence[int]) -> None:
    """Raise ValueError unless the order has each task once, after those that must run before it."""
    if sorted(order) != list(range(len(problem.tasks))):
        raise ValueError("an order has each task once")
    place = {task: at for at, task in enumerate(order)}
    for task, needed in enumerate(problem.before):
        for each in needed:
            if place[each] >= place[task]:
                raise ValueError(f"task {task} runs before task {each}, which it needs")
