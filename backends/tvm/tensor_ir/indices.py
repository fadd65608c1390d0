"""Of how many bits an index is: one choice for each kernel.

Indices are of 32 bits where all that a kernel touches is small, and of 64 bits in all others: loop variables,
sizes of buffers, and so all that is made of them. A variable over a size that is not known is of 64 bits in
either, and whatever it is combined with. `ranges.py` looks at the kernels whether that is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tvm import tirx

FAR = 1 << 28
"""Elements from which on a kernel's indices are of 64 bits: three bits less than fit, for what tiles fill up,
windows that reach over an edge, and workspaces that are larger than what they are made of."""

_WIDE: ContextVar[bool] = ContextVar("wide", default=False)


@contextmanager
def wide(value: bool) -> Iterator[None]:
    """Indices that are made here are all of 64 bits, or else of as many as their sizes need."""
    token = _WIDE.set(value)
    try:
        yield
    finally:
        _WIDE.reset(token)


def is_far(sizes: Sequence[Any]) -> bool:
    """Whether a tensor of these sizes may have too many elements; those that are not known count for one."""
    count = 1
    for size in sizes:
        count *= size if isinstance(size, int) else 1
    return count >= FAR


def index_type(*extents: Any) -> str:
    """The type of an index below these sizes, or of what is combined with it."""
    known = all(isinstance(extent, int) and extent < 1 << 31 for extent in extents)
    return "int32" if known and not _WIDE.get() else "int64"


def index_const(value: Any) -> Any:
    """A number as an index; an expression is one."""
    return tirx.const(value, index_type(abs(value))) if isinstance(value, int) else value


def declared(shape: Sequence[Any], dtype: str, **about: Any) -> Any:
    """A buffer whose elements are counted in the bits of an index."""
    return tirx.decl_buffer([index_const(size) for size in shape] or [index_const(1)], dtype, **about)
