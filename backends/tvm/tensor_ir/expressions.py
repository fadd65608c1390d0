"""What an operator's `te` is given: tensors of tensors, and scalar functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from tvm import tirx

from ....compiler.dtypes import DType
from ....compiler.graph.graph import Node
from ....compiler.sizes.dims import Dim, Size, fold
from ..runtime.dtypes import HALVES, kernel_dtype, storage_dtype, tvm_dtype
from .halves import narrow, widen
from .indices import index_type
from .loops import CURRENT, Buffer, Expr, Loops, type_of
from .math import elementary
from .math.floats import constant, is_float, to_integer
from .tensors import Combine, Computed, Extern, Program, Reduced, Shape, Tensor

OPERATIONS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "floordiv": tirx.floordiv,
    "mod": tirx.floormod,
    "min": tirx.min,
    "max": tirx.max,
}


def size_expression(size: Size, symbols: dict[str, Expr]) -> Any:
    """A size as an int, or as an expression of the symbols' variables."""

    def combine(kind: str, args: tuple[Any, ...]) -> Any:
        if kind == "pow":
            base, exponent = args
            found: Any = 1
            for _ in range(int(exponent)):
                found = found * base
            return found
        found = args[0]
        for each in args[1:]:
            found = OPERATIONS[kind](found, each)
        return found

    return fold(size, int, symbols.__getitem__, combine)


class Expressions(elementary.Functions):
    """The defining computation of one node, for a backend of loops.

    An operator's `te(t, ...)` gets its operands as tensors and returns a tensor (or a list of them).
    """

    def __init__(self, node: Node, symbols: dict[str, Expr], float_as: DType = "f32") -> None:
        self.node = node
        self.symbols = symbols
        self.float_as = float_as
        self.made: list[Tensor] = []
        self._types: dict[int, DType] = {}

    # What the graph knows.

    def shape(self, result: int = 0) -> Shape:
        """The sizes of a result: ints, or expressions of 64 bits."""
        return tuple(self.size(size) for size in self.node.results[result].shape)

    def dtype(self, result: int = 0) -> str:
        """The type of a result, as `cast` and `const` take it: float32 for floats of 16 bits."""
        return kernel_dtype(self.node.results[result].type.dtype, self.float_as)

    def type(self, dtype: DType) -> str:
        """A type of the plan, as `cast` and `const` take it: float32 for floats of 16 bits."""
        return kernel_dtype(dtype, self.float_as)

    def size(self, size: Size) -> Any:
        """A size as an int or an expression."""
        return size_expression(size, self.symbols)

    # Tensors.

    def compute(
        self,
        shape: Sequence[Any],
        function: Callable[..., Expr],
        dtype: str | None = None,
        keep: bool = False,
        cuts: tuple[int, Sequence[Any]] | None = None,
    ) -> Tensor:
        """Each element by itself: `function` takes an index and gives an expression.

        With `keep` it is worked out once and stored, for values that are dear and read more than once.
        """
        wanted = dtype or self.dtype()
        rounded = None if dtype else self._rounded_to()

        def element(*indices: Expr) -> Expr:
            value = self.cast(function(*indices), wanted)
            return value if rounded is None else widen(narrow(value, rounded, self.let))

        made = Computed(shape, wanted, element, self.node.op.name)
        made.keep = keep
        made.cuts = cuts
        return self._add(made)

    def reduce(
        self,
        combine: Combine,
        shape: Sequence[Any],
        extents: Sequence[Any],
        function: Callable[..., Expr],
        dtype: str | None = None,
    ) -> Tensor:
        """Elements combined: `function` takes an index of `shape` and then one of `extents`.

        `combine` is "sum", "prod", "max", "min" (a NaN wins), "any" or "all" (of booleans).
        """
        wanted = dtype or self.dtype()

        def element(*indices: Expr) -> Expr:
            return self.cast(function(*indices), wanted)

        return self._add(Reduced(shape, wanted, extents, combine, element, self.node.op.name))

    def build(
        self, results: Sequence[tuple[Sequence[Any], str]], emit: Callable[[Loops, list[Buffer]], None]
    ) -> list[Tensor]:
        """What neither of the two can say: `emit(b, outs)` writes loops and stores; see `Loops`.

        `results` are the shapes and types of what it writes.
        """
        made = [Extern(shape, dtype, self.node.op.name) for shape, dtype in results]
        program = Program(emit, made)
        for each in made:
            each.program = program
            self._add(each)
        return list(made)

    def _rounded_to(self) -> str | None:
        """The type that the result is rounded to, also where it stays in registers.

        That is so where floats of 16 bits are made of others, as by `cast`. What is made of such floats is
        rounded when it is stored.
        """
        dtype, *others = [
            tvm_dtype(value.type.dtype, self.float_as) for value in (self.node.results[0], *self.node.inputs)
        ]
        return storage_dtype(dtype) if dtype in HALVES and dtype not in others else None

    def _add(self, tensor: Any) -> Any:
        self.made.append(tensor)
        return tensor

    def read(self, x: Tensor, index: Sequence[Expr]) -> Expr:
        """An operand at the index of a result that it is broadcast to: axes of one are read at 0."""
        last = index[len(index) - x.rank :]
        return x[
            tuple(
                0 if size == 1 and isinstance(size, int) else i for size, i in zip(x.shape, last, strict=True)
            )
        ]

    # Scalars.

    def number(self, value: Any) -> Any:
        """A scalar argument: a Python number, or a symbolic size as an expression."""
        return self.size(value) if isinstance(value, Dim) else value

    def const(self, value: Any, dtype: str | None = None) -> Expr:
        """A number of a type; of the result's, unless given."""
        wanted = dtype or self.dtype()
        if wanted == "bool":
            return tirx.const(bool(value), "bool")
        return constant(float(value), wanted) if "float" in wanted else _whole(value, wanted)

    def cast(self, value: Expr, dtype: str) -> Expr:
        """The value in another type, as torch converts: booleans by `!= 0`."""
        if isinstance(value, (bool, int, float)):
            return self.const(value, dtype)
        if type_of(value) == dtype:
            return value
        if dtype == "bool":
            # Not `!=`, which TVM takes to be false of NaN.
            return tirx.Not(tirx.EQ(value, tirx.const(0, type_of(value))))
        if is_float(value) and not dtype.startswith("float"):
            return to_integer(self.let(value), dtype)
        return value.astype(dtype)

    def index_type(self, *sizes: Any) -> str:
        """The type of an index below these sizes, and of what is combined with it in a choice."""
        return index_type(*sizes)

    def position(self, i: Expr, most: Any) -> Expr:
        """An index that is to be multiplied, of 64 bits where the result, of at most `most`, needs them."""
        return i if type_of(i) == "int64" else i.astype(index_type(most))

    def quotient(self, x: Expr, y: Any) -> Expr:
        """X // y in an index, of numbers that are not negative: TVM joins floored quotients wrongly."""
        return tirx.truncdiv(x, y)

    def select(self, condition: Expr, yes: Expr, no: Expr) -> Expr:
        """One of two values, both of which are worked out."""
        return tirx.Select(condition, yes, no)

    def guard(self, condition: Expr, read: Callable[[], Expr], other: Expr) -> Expr:
        """What `read` gives where the condition holds, else `other`: nothing is read outside of it."""
        loops = CURRENT.get()
        if loops is None:
            return tirx.if_then_else(condition, read(), other)
        return loops.guard(condition, read, other)

    def let(self, value: Expr) -> Expr:
        """The value under a name, so that it is worked out once though it is used twice."""
        loops = CURRENT.get()
        return value if loops is None else loops.let(value)


def _whole(value: Any, dtype: str) -> Expr:
    """A number as an integer of a type, modulo 2^bits."""
    return tirx.const(int(np.array(int(value) & (2**64 - 1), "uint64").astype(dtype)), dtype)


@contextmanager
def emitting(loops: Loops) -> Any:
    """Names that elements need are bound in these loops."""
    token = CURRENT.set(loops)
    try:
        yield
    finally:
        CURRENT.reset(token)
