"""What a strip of a block's result needs of every value before it, grown backwards kernel by kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil
from typing import NamedTuple

from ..cost.traffic import Traffic
from ..graph.graph import Node, Value
from .contract import Kernel
from .kernels import behind_views
from .reach import Step, reach


class Part(NamedTuple):
    """What a block needs of a value: the step along the strips' axis, and along the batch; None is all."""

    step: Step | None
    batch: Step | None


_WHOLE = Part(None, None)
_NOWHERE: Mapping[Value, Step | None] = {}


class Facts(NamedTuple):
    """What the model asks of a kernel; values are those behind the views in it.

    `reads`: bytes read of each value from outside the kernel. `views`: what views in the kernel show. `made`:
    each value that is read outside, or a view of it that stands in the kernel, its bytes, and the kernels
    that read it (None: the graph gives it). `work`: each operator's results and its multiply-adds.
    """

    reads: dict[Value, int]
    views: list[tuple[Value, Value]]
    made: list[tuple[Value, int, frozenset[Kernel] | None]]
    work: list[tuple[tuple[Value, ...], int]]


class Known:
    """What is known of kernels and values under one binding; each thing is worked out once."""

    def __init__(
        self,
        traffic: Traffic,
        macs: Mapping[Node, int],
        kernel_of: Mapping[Node, Kernel],
        readers: Mapping[Value, Sequence[Node]],
        outputs: frozenset[Value],
    ) -> None:
        self.traffic = traffic
        self.kernel_of = kernel_of
        self._macs = macs
        self._readers = readers
        self._outputs = outputs
        self._facts: dict[Kernel, Facts] = {}
        self._shapes: dict[Value, tuple[int, ...] | None] = {}
        self._bytes: dict[Value, int] = {}
        self._reached: dict[tuple[Value, int], dict[Value, Step | None]] = {}
        self._operands: dict[Node, list[tuple[Value, bool]]] = {}

    def kept(self, nodes: Sequence[Node]) -> list[Value]:
        """The results of nodes that something else reads, or that the graph gives."""
        inside = set(nodes)
        return [
            value
            for node in nodes
            for value in node.results
            if value in self._outputs or any(user not in inside for user in self._readers[value])
        ]

    def shape(self, value: Value) -> tuple[int, ...] | None:
        """The value's sizes, or None where one is not bound to a positive number."""
        if value not in self._shapes:
            sizes = self.traffic.binding.measure(value.type).type.shape
            known = tuple([size for size in sizes if isinstance(size, int) and size > 0])
            self._shapes[value] = known if len(known) == len(sizes) else None
        return self._shapes[value]

    def sizes(self, value: Value) -> tuple[int, ...]:
        """The value's sizes, which are known."""
        shape = self.shape(value)
        assert shape is not None
        return shape

    def bytes_of(self, value: Value) -> int:
        """The value's bytes."""
        known = self._bytes.get(value)
        if known is None:
            found = self.traffic.bytes_of(value)
            assert isinstance(found, int)
            known = self._bytes[value] = found
        return known

    def reach(self, value: Value, axis: int) -> dict[Value, Step | None]:
        """The steps from an axis of a value to the operands of its operator."""
        key = value, axis
        known = self._reached.get(key)
        if known is None:
            known = self._reached[key] = reach(value.node, value, axis)
        return known

    def operands(self, node: Node) -> list[tuple[Value, bool]]:
        """The node's operands, each once, and whether they are computed here, and not only looked at."""
        found = self._operands.get(node)
        if found is None:
            view = node.op.view
            found = self._operands[node] = [
                (value, not view and value.node in self.kernel_of) for value in dict.fromkeys(node.inputs)
            ]
        return found

    def bound(self, kernel: Kernel) -> bool:
        """Whether all sizes in a kernel are numbers above 0."""
        return all(self.shape(value) is not None for node in kernel.nodes for value in node.results)

    def facts(self, kernel: Kernel) -> Facts:
        """The kernel's facts; its sizes are numbers."""
        known = self._facts.get(kernel)
        if known is None:
            known = self._facts[kernel] = self._collect(kernel)
        return known

    def _collect(self, kernel: Kernel) -> Facts:
        reads: dict[Value, int] = {}
        views: list[tuple[Value, Value]] = []
        for node in kernel.nodes:
            for value, size in self.traffic.reads(node).items():
                base = self._behind(value, kernel)
                if self.kernel_of.get(base.node) is not kernel and isinstance(size, int):
                    reads[base] = min(reads.get(base, 0) + size, self.bytes_of(base))
            if node.op.view:
                views += [(value, self._behind(value, kernel)) for value in node.results]
        made: dict[Value, frozenset[Kernel] | None] = {}
        for value in self.kept(kernel.nodes):
            base = behind_views(value)
            if base.node in self.kernel_of and not base.node.op.view:
                known = made.get(base, frozenset())
                users = {self.kernel_of[user] for user in self._readers[value]} - {kernel}
                made[base] = None if known is None or value in self._outputs else known | users
        work = [(node.results, self._macs.get(node, 0)) for node in kernel.nodes]
        return Facts(
            reads,
            views,
            [(value, self.bytes_of(value), users) for value, users in made.items()],
            [(results, macs) for results, macs in work if macs],
        )

    def _behind(self, value: Value, kernel: Kernel) -> Value:
        """What a value is a view of, as far as the views are in the kernel."""
        while value.node.op.view and value.node.inputs and self.kernel_of.get(value.node) is kernel:
            value = value.node.inputs[0]
        return value


class Strips:
    """A block as it grows backwards from its last kernel, cut along one axis of `result`.

    The samples of a batch are computed one after the other where they do not meet, unless `bundled`.
    """

    def __init__(self, known: Known, result: Value, axis: int | None, bundled: bool = False) -> None:
        self.known = known
        self.result = result
        self.axis = axis
        self.kernels: list[Kernel] = []
        self._parts: dict[Value, Part] = {}
        self._inside: set[Kernel] = set()
        self._bundled = bundled or axis == 0
        # Number of the kernel, counted from the last, that makes a value first, and that reads it last.
        self._spans: dict[Value, tuple[int, int]] = {}
        # Bytes read from outside.
        self._reads: dict[Value, int] = {}
        self._weights: dict[Value, int] = {}
        self._facts: list[Facts] = []
        self._start = Part(None if axis is None else Step(axis), Step(0) if result.shape else None)

    @property
    def size(self) -> int:
        """The positions along the axis."""
        return 1 if self.axis is None else self.known.sizes(self.result)[self.axis]

    @property
    def batch(self) -> int:
        """How many samples are computed one after the other."""
        shape = self.known.sizes(self.result)
        return 1 if self._bundled or len(shape) < 2 else shape[0]

    def extend(self, kernel: Kernel) -> None:
        """Put a kernel in front."""
        for node in reversed(kernel.nodes):
            self._reach_back(node)
        self._inside.add(kernel)
        number = len(self.kernels)
        self.kernels.append(kernel)
        facts = self.known.facts(kernel)
        self._facts.append(facts)
        for value, size in facts.reads.items():
            base = behind_views(value)
            _, last = self._spans.get(base, (number, number))
            self._spans[base] = number, last
            self._read(value, size)
        for view, value in facts.views:
            size = self._reads.pop(view, None) or self._weights.pop(view, None)
            if size is not None:
                self._read(value, size)
        for value, _, users in facts.made:
            if self.known.kernel_of[value.node] is kernel:
                self._reads.pop(value, None)
            if value in self._spans or users is None:
                self._spans[value] = number, self._spans.get(value, (number, number))[1]

    def _read(self, value: Value, size: int) -> None:
        reads = self._weights if behind_views(value).node.op.name == "weight" else self._reads
        reads[value] = min(reads.get(value, 0) + size, self.known.bytes_of(value))

    def _reach_back(self, node: Node) -> None:
        known, parts = self.known, self._parts
        for value in node.results:
            part = parts.get(value)
            if part is None:
                if node.op.accumulates and value is not self.result:
                    continue  # built up strip by strip
                alike = known.shape(value) == known.shape(self.result)
                part = parts[value] = self._start if alike else _WHOLE
            step, batch = part
            steps = known.reach(value, step.axis) if step else _NOWHERE
            across = known.reach(value, batch.axis) if batch else _NOWHERE
            for operand, computed in known.operands(node):
                own, sample = steps.get(operand), across.get(operand)
                made = Part(own.after(step) if own and step else None, sample)
                before = parts.get(operand)
                parts[operand] = made if before is None else _both(before, made)
                if sample is None and computed:
                    self._bundled = True

    def longest(self, budget: int) -> tuple[int, int]:
        """The most rows, halved from all, whose buffer fits into the budget, and that buffer.

        One row where none fits.
        """
        passed = [
            (first + 1, last, *self._share(value))
            for value, (first, last) in self._spans.items()
            if first != last and value.node.op.name != "weight"
        ]
        rows = self.size
        while True:
            buffer = self._buffer(passed, rows)
            if buffer <= budget or rows <= 1:
                return rows, buffer
            rows = (rows + 1) // 2

    def _buffer(self, passed: Sequence[tuple[int, int, float, Step | None, int]], rows: int) -> int:
        """The most bytes of strips alive at once, among values that pass between kernels."""
        changes = [0] * (len(self.kernels) + 1)
        for end, last, share, step, size in passed:
            strip = ceil(share if step is None else share * _rows(step, rows, size) / size)
            changes[last] += strip
            changes[end] -= strip
        return max(0, *accumulate(changes))

    def _share(self, value: Value) -> tuple[float, Step | None, int]:
        """The bytes of a value that belong to what is computed at once, and how strips cut them."""
        part, whole = self._parts.get(value), self.known.bytes_of(value)
        if part is None:
            return whole, None, 1
        share = whole / self.batch if part.batch else whole
        return share, part.step, 1 if part.step is None else self.known.sizes(value)[part.step.axis]

    def moved(self, rows: int, room: int) -> tuple[int, int]:
        """The bytes that the block moves, and how many of them are weights read again.

        Weights that do not fit into the `room` beside the buffer come with each strip.
        """
        total = weights = again = 0
        for value, read in self._reads.items():
            total += ceil(read * self.times(value, rows))
        for value, read in self._weights.items():
            part = self._parts.get(value)
            if part is None or part.step is None:
                weights += read
            else:
                total += ceil(read * self.times(value, rows))
        if weights > room:
            again = weights * (-(-self.size // rows) * self.batch - 1)
        written = {
            value: size
            for facts in self._facts
            for value, size, users in facts.made
            if (users is None or not users <= self._inside)
            and self.known.kernel_of[value.node] in self._inside
        }
        return total + sum(written.values()) + weights + again, again

    def again(self, rows: int) -> int:
        """The multiply-adds that are done more than once."""
        if rows >= self.size:
            return 0
        found = 0.0
        for facts in self._facts:
            for results, macs in facts.work:
                found += macs * (max(self.times(value, rows) for value in results) - 1)
        return ceil(found)

    def times(self, value: Value, rows: int) -> float:
        """How often each position of a value is taken, at the mean."""
        strips = -(-self.size // rows)
        part = self._parts.get(value)
        if part is None or strips == 1:
            return 1.0
        if part.step is None:
            # What comes from outside stays; what is made inside is made for each strip.
            return float(strips) if value.node in self.known.kernel_of else 1.0
        size = self.known.sizes(value)[part.step.axis]
        return max(1.0, strips * _rows(part.step, rows, size) / size)


def _rows(step: Step, rows: int, size: int) -> int:
    return max(1, min(size, ceil(step.scale * rows + step.extra)))


def _both(known: Part, part: Part) -> Part:
    """What two readers need together: along one axis the larger, along two everything."""
    if known == part:
        return known
    return Part(_larger(known.step, part.step), _larger(known.batch, part.batch))


def _larger(a: Step | None, b: Step | None) -> Step | None:
    if a is None or b is None or a.axis != b.axis:
        return None
    return Step(a.axis, max(a.scale, b.scale), max(a.extra, b.extra))
