"""Tensors as functions of an index: what an operator's `te` takes and gives.

A tensor is read by subscript, `x[n, c]`, which gives an expression. A `Source` is in memory; a `Computed`
one is worked out where it is read, unless it has been given a buffer; a `Reduced` one combines many
elements, and a `Extern` one is written by statements, so both get a buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

from tvm import tirx

from .halves import NARROW, widen
from .indices import index_const
from .layouts import PLAIN, Layout
from .loops import CURRENT, Buffer, Expr, Known, Loops, recall

Shape = tuple[Any, ...]
Combine = Literal["sum", "prod", "max", "min", "any", "all"]


class Access(NamedTuple):
    """A tensor that was read, and where."""

    tensor: Tensor
    indices: tuple[Expr, ...]


class Tensor:
    """Sizes (ints, or expressions of the symbols), element type, and the buffer if it is in memory.

    Floats of 16 bits have the type float32, as which they are read; only a buffer has them as they are.
    """

    def __init__(self, shape: Sequence[Any], dtype: str, name: str = "x") -> None:
        self.shape: Shape = tuple(shape)
        self.dtype = dtype
        self.name = name
        self.buffer: Buffer | None = None
        # The element that a template is at, and all that is read there.
        self.element: Expr | None = None
        self.layout: Layout = PLAIN
        # Axes of the tensor that the buffer leaves out: it holds one slice of them.
        self.outer = 0
        # Read by several operators, or several times by one.
        self.shared = False

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def is_narrow(self) -> bool:
        """Whether it is in memory as floats of 16 bits."""
        return self.buffer is not None and str(self.buffer.dtype) in NARROW

    def __getitem__(self, indices: Any) -> Expr:
        given = indices if isinstance(indices, tuple) else (indices,)
        found = tuple([index_const(i) if isinstance(i, int) else i for i in given])
        if len(found) != self.rank:
            raise IndexError(f"{self.name} has {self.rank} axes, and is read at {len(found)}")
        watched = _watched.get()
        if watched is not None:
            watched.reads.append(Access(self, found))
        if self.element is not None:
            return self.element
        if self.buffer is not None:
            return self.load(found)
        if not self.shared:
            return self.at(found)
        loops = CURRENT.get()
        if loops is not None:
            return loops.once(self, found, lambda: self.at(found))
        if watched is None:
            return self.at(found)
        value = recall(watched.values, self, found)
        if value is None:
            value = self.at(found)
            watched.values.setdefault(id(self), []).append((found, value))
        return value

    def load(self, indices: tuple[Expr, ...]) -> Expr:
        """Read from the buffer."""
        assert self.buffer is not None
        return widen(tirx.BufferLoad(self.buffer, self.place(indices)))

    def place(self, indices: Sequence[Expr]) -> list[Expr]:
        """Where an element is in the buffer."""
        found = self.layout.indices(tuple(indices[self.outer :])) or [index_const(0)]
        loops = CURRENT.get()
        if not self.layout.blocked or loops is None:
            return found
        # Blocks that a loop runs over show as such, so that lanes are seen to be neighbours.
        for axis in (self.layout.axis or 0, -1):
            found[axis] = loops.simplify(found[axis])
        return found

    def at(self, indices: tuple[Expr, ...]) -> Expr:
        """Work an element out; while reads are watched, a name stands for what has no buffer yet."""
        if _watched.get() is not None:
            return tirx.Var(self.name, self.dtype)
        raise AssertionError(f"{self.name} is not in memory")


class Source(Tensor):
    """An operand of the kernel."""


class Computed(Tensor):
    """Each element by itself. `function` takes the index."""

    def __init__(self, shape: Sequence[Any], dtype: str, function: Callable[..., Expr], name: str) -> None:
        super().__init__(shape, dtype, name)
        self.function = function
        # Kept in memory, since elements are read more than once.
        self.keep = False
        # An axis, and positions on it from which on elements are worked out in another way.
        self.cuts: tuple[int, Sequence[Any]] | None = None

    def at(self, indices: tuple[Expr, ...]) -> Expr:
        """The function's value."""
        return self.function(*indices)


class Reduced(Tensor):
    """Elements combined over `extents`. `function` takes the index and then the position reduced over."""

    def __init__(
        self,
        shape: Sequence[Any],
        dtype: str,
        extents: Sequence[Any],
        combine: Combine,
        function: Callable[..., Expr],
        name: str,
    ) -> None:
        super().__init__(shape, dtype, name)
        self.extents = tuple(extents)
        self.combine: Combine = combine
        self.function = function


class Program(NamedTuple):
    """Statements that write `results`. `emit` gets the loops and the results' buffers.

    What it reads are operands by subscript, so that they may be worked out on the way.
    """

    emit: Callable[[Loops, list[Buffer]], None]
    results: list[Extern]


class Extern(Tensor):
    """A result of statements."""

    program: Program


class Watched(NamedTuple):
    """What is read while reads are watched, and what was worked out meanwhile."""

    reads: list[Access]
    values: Known


_watched: ContextVar[Watched | None] = ContextVar("watched", default=None)


def watch(function: Callable[[], Any]) -> list[Access]:
    """What is read while a function runs."""
    watched = Watched([], {})
    tokens = _watched.set(watched), CURRENT.set(None)
    try:
        function()
        return watched.reads
    finally:
        _watched.reset(tokens[0])
        CURRENT.reset(tokens[1])
