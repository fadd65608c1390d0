"""What an operator writes as statements, by `t.build`: its parallel loops are launches with a thread a turn.

What is between two such loops is run by one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvm import tirx

from ..tensor_ir.access import over
from ..tensor_ir.expressions import emitting
from ..tensor_ir.loops import Buffer, Expr, Kind, Loops
from ..tensor_ir.tensors import Extern
from .launches import LaunchSequence, Thread

_THREADS = 64
"""Threads of a block: few, so that all processors have some."""


def emit(work: LaunchSequence, stage: Extern) -> None:
    """The launches of a program, all of whose results have buffers."""
    outline = Outline(work)
    with emitting(outline):
        stage.program.emit(outline, [each.buffer for each in stage.program.results])
    outline.close()


class Outline(Loops):
    """Sends statements to the launch that they belong to."""

    def __init__(self, work: LaunchSequence) -> None:
        super().__init__()
        self.work = work
        self.inner: Thread | None = None
        self.outer: Thread | None = None
        self.bindings: list[Any] = []
        self.depth = 0

    def close(self) -> None:
        """End the launch of one thread."""
        if self.outer is not None and self.outer.statements:
            self.work.add(self.outer)
        self.outer = None

    def _thread(self) -> Thread:
        if self.inner is not None:
            return self.inner
        if self.outer is None:
            self.outer = Thread(self.work, 1, 1)
            for binding in self.bindings:
                self.outer.emit(binding)
        return self.outer

    @contextmanager
    def loop(self, extent: Expr, name: str = "i", kind: Kind = "serial") -> Iterator[Expr]:
        """A loop of one thread, or a launch with a thread for each turn."""
        alone = isinstance(extent, int) and extent == 1
        if kind != "parallel" or self.depth or alone:
            with self._deeper(), self._thread().loop(extent, name, kind) as variable:
                yield variable
            return
        self.close()
        with self.work.launch(over(extent, _THREADS), _THREADS) as thread:
            for binding in self.bindings:
                thread.emit(binding)
            position = thread.let(thread.position(extent), name)
            bound = tirx.const(extent, position.ty.dtype) if isinstance(extent, int) else extent
            self.inner = thread
            with self._deeper(), thread.when(position < bound):
                yield position
            self.inner = None

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """Run the context where the condition holds."""
        with self._deeper(), self._thread().when(condition):
            yield

    @contextmanager
    def repeat(self, condition: Expr) -> Iterator[None]:
        """Run the context while the condition holds."""
        with self._deeper(), self._thread().repeat(condition):
            yield

    def emit(self, statement: Any) -> None:
        """Add a statement."""
        self._thread().emit(statement)

    def store(self, buffer: Buffer, value: Expr, *indices: Expr) -> None:
        """Write an element."""
        self._thread().store(buffer, value, *indices)

    def let(self, value: Expr, name: str = "v") -> Expr:
        """Compute once; outside of loops, for all launches that follow."""
        if self.depth or isinstance(value, (int, float, bool, tirx.Var, tirx.IntImm, tirx.FloatImm)):
            return self._thread().let(value, name)
        variable = tirx.Var(name, value.ty)
        self.bindings.append(tirx.Bind(variable, value))
        if self.outer is not None:
            self.outer.emit(self.bindings[-1])
        return variable

    def guard(self, condition: Expr, read: Any, other: Expr) -> Expr:
        """What `read` gives where the condition holds, else `other`."""
        return self._thread().guard(condition, read, other)

    def simplify(self, value: Expr) -> Expr:
        """The same integer, with what is known of the loops' variables."""
        return self._thread().simplify(value)

    def one_by_one(self) -> None:
        """Nothing: a thread has no vectors."""

    def alloc(self, shape: Any, dtype: str, name: str = "local", scope: str = "global") -> Buffer:
        """Memory of a thread, or outside of loops of all launches."""
        if self.depth:
            return self._thread().alloc(shape, dtype, name, scope)
        return self.work.scratch(list(shape) or [1], dtype, name)
