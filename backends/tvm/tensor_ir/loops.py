"""Statements of TIR, written as Python: loops, stores, bindings, conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import tvm
from tvm import tirx
from tvm.ir import PointerType, PrimType

from .halves import narrow
from .indices import index_const, index_type

Expr = Any
Buffer = Any
Kind = Literal["serial", "parallel", "vectorized", "unrolled"]
_KINDS = {
    "serial": tirx.ForKind.SERIAL,
    "parallel": tirx.ForKind.PARALLEL,
    "vectorized": tirx.ForKind.VECTORIZED,
    "unrolled": tirx.ForKind.UNROLLED,
}


def type_of(value: Expr) -> str:
    """The element type of an expression, as TVM writes it."""
    return str(value.ty.dtype)


Known = dict[int, list[tuple[tuple[Expr, ...], Expr]]]


def recall(known: Known, owner: object, indices: tuple[Expr, ...]) -> Expr | None:
    """What is known of an owner at an index."""
    for at, value in known.get(id(owner), ()):
        if all(_is_same(left, right) for left, right in zip(at, indices, strict=True)):
            return value
    return None


def _is_same(left: Expr, right: Expr) -> bool:
    both = isinstance(left, tirx.IntImm) and isinstance(right, tirx.IntImm)
    return int(left) == int(right) if both else left.same_as(right)


_FAR = 1 << 30


class Loops:
    """Collects statements; loops and conditions are contexts."""

    def __init__(self) -> None:
        self._scopes: list[list[Any]] = [[]]
        self._analyzer = tvm.sym.Analyzer()
        # What ends with each scope.
        self._ends: list[list[Any]] = [[]]
        # What elements are worked out already, by `once`.
        self._known: list[Known] = [{}]
        # Of named floats; in a loop of vectors each lane has its own.
        self._cells: set[Any] = set()
        self._lanes: tuple[int, Expr, int] | None = None
        # Variables that differ between lanes.
        self._varying: list[Expr] = []
        self._one_by_one = False
        # For each guard around, whether it has named floats.
        self._guards: list[bool] = []
        # Whether all elements so far are written in vectors.
        self.in_vectors = True

    def emit(self, statement: Any) -> None:
        """Add a statement."""
        self._scopes[-1].append(statement)

    @contextmanager
    def _scope(self, close: Callable[[Any], Any]) -> Iterator[None]:
        self._open()
        yield
        body = self._closed()
        if body:
            self.emit(close(body[0] if len(body) == 1 else tirx.SeqStmt(body)))

    def _open(self) -> None:
        self._scopes.append([])
        self._ends.append([])
        self._known.append({})

    def _closed(self) -> list[Any]:
        """The statements of the innermost scope, which ends."""
        self._known.pop()
        return self._scopes.pop() + self._ends.pop()

    @contextmanager
    def loop(self, extent: Expr, name: str = "i", kind: Kind = "serial") -> Iterator[Expr]:
        """Run the context for each value of the variable that it gives, from 0; one turn needs no loop."""
        if isinstance(extent, int) and extent == 1:
            yield index_const(0)
            return
        dtype = index_type(extent) if isinstance(extent, int) else type_of(extent)
        variable = tirx.Var(name, dtype)
        first = tirx.const(0, dtype)
        last = tirx.const(extent, dtype) if isinstance(extent, int) else extent

        self._analyzer.bind(variable, tvm.ir.Range(first, last))

        def close(body: Any) -> Any:
            how = "serial" if kind == "vectorized" and self._one_by_one else kind
            return tirx.For(variable, first, last, _KINDS[how], body)

        if kind == "vectorized" and isinstance(extent, int):
            self._lanes = len(self._scopes) - 1, variable, extent
            self._varying = [variable]
            self._one_by_one = False
        with self._scope(close):
            yield variable
        if kind == "vectorized":
            self._lanes = None

    def one_by_one(self) -> None:
        """Let the loop of vectors around be one of single elements: it has what vectors cannot do.

        TVM would take such statements apart itself, and lose the names that they use.
        """
        self._one_by_one = True
        self.in_vectors = False

    @contextmanager
    def loops(self, extents: Sequence[Expr], name: str = "i", kind: Kind = "serial") -> Iterator[list[Expr]]:
        """Nested loops; gives their variables."""
        if not extents:
            yield []
            return
        with self.loop(extents[0], f"{name}0", kind) as first, self._rest(extents, name, kind) as rest:
            yield [first, *rest]

    @contextmanager
    def _rest(self, extents: Sequence[Expr], name: str, kind: Kind) -> Iterator[list[Expr]]:
        with self.loops(extents[1:], f"{name}_", kind) as rest:
            yield rest

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """Run the context where the condition holds."""
        with self._scope(lambda body: tirx.IfThenElse(condition, body, None)):
            yield

    @contextmanager
    def repeat(self, condition: Expr) -> Iterator[None]:
        """Run the context while the condition holds."""
        with self._scope(lambda body: tirx.While(condition, body)):
            yield

    def store(self, buffer: Buffer, value: Expr, *indices: Expr) -> None:
        """Write an element, rounded to what the buffer holds."""
        value = narrow(value, str(buffer.dtype), self.let)
        self.in_vectors = self.in_vectors and self._lanes is not None
        self.emit(tirx.BufferStore(buffer, value, [index_const(index) for index in indices]))

    def let(self, value: Expr, name: str = "v") -> Expr:
        """Compute once: a variable with the value, visible to the end of the scope.

        A float is put in a cell, which LLVM keeps in a register: TVM's analyzer writes bindings out inside
        each other, so that what is used twice would double at each step.
        """
        if isinstance(value, (int, float, bool, tirx.Var, tirx.IntImm, tirx.FloatImm)):
            return value
        # TVM's analyzer has no bindings of vectors of booleans, nor of what is made of them.
        compared = self._lanes is not None and type_of(value) != "bool" and _compares(value)
        if compared or type_of(value) in ("float32", "float64"):
            if self._guards:
                self._guards[-1] = True
            if getattr(value, "source", None) in self._cells:
                return value
            cell, at = self._cell(type_of(value), name)
            self.store(cell, value, at)
            return tirx.BufferLoad(cell, [at])
        if self._guards and not self._guards[-1]:
            # Of an index: a loop in vectors has to see what it is made of.
            return value
        if self._lanes is not None and type_of(value) == "bool":
            return value  # what is compared is in cells already
        variable = tirx.Var(name, value.ty)
        self.emit(tirx.Bind(variable, value))
        if self._lanes is not None and self._varies(value):
            self._varying.append(variable)
        if str(value.ty.dtype) in ("int32", "int64"):
            bound: Any = self._analyzer.const_int_bound(value)
            if abs(bound.min_value) < _FAR and abs(bound.max_value) < _FAR:
                least = tirx.const(bound.min_value, value.ty.dtype)
                count = tirx.const(bound.max_value - bound.min_value + 1, value.ty.dtype)
                self._analyzer.bind(variable, tvm.ir.Range.from_min_extent(least, count))
        return variable

    def guard(self, condition: Expr, read: Callable[[], Expr], other: Expr) -> Expr:
        """What `read` gives where the condition holds, else `other`: nothing else is worked out.

        What `read` names is worked out in a branch, which leaves its value in a cell.
        """
        known = self.simplify(condition)
        if isinstance(known, tirx.IntImm):
            return read() if int(known) else other
        if self._lanes is not None and self._varies(condition):
            self.one_by_one()
        self._open()
        self._guards.append(False)
        value = read()
        self._guards.pop()
        inside = self._closed()
        if not inside:
            return tirx.if_then_else(condition, value, other)
        cell, at = self._cell(type_of(value), "guarded")
        self.store(cell, other, at)
        inside.append(tirx.BufferStore(cell, value, [at]))
        self.emit(tirx.IfThenElse(condition, tirx.SeqStmt(inside), None))
        return tirx.BufferLoad(cell, [at])

    def once(self, owner: object, indices: tuple[Expr, ...], make: Callable[[], Expr]) -> Expr:
        """The value that belongs to an owner at an index, worked out at most once in a scope."""
        for known in self._known:
            found = recall(known, owner, indices)
            if found is not None:
                return found
        value = self.let(make())
        self._known[-1].setdefault(id(owner), []).append((indices, value))
        return value

    def _varies(self, value: Expr) -> bool:
        """Whether a value differs between the lanes of the loop of vectors around."""
        used = tirx.analysis.undefined_vars(value)
        return any(each.same_as(variable) for each in used for variable in self._varying)

    def _cell(self, dtype: str, name: str) -> tuple[Buffer, Expr]:
        """A place for a number, of which each lane has its own, and the index to use."""
        scope, at, size = self._lanes or (len(self._scopes) - 1, index_const(0), 1)
        cell = tirx.decl_buffer([index_const(size)], dtype, name=name, scope="local")
        self._scopes[scope].append(tirx.AllocBuffer(cell, {"disable_lower_builtin": tirx.IntImm("bool", 1)}))
        self._cells.add(cell)
        return cell, at

    def simplify(self, value: Expr) -> Expr:
        """The same integer, with what is known of the loops' variables."""
        return self._analyzer.simplify(value)

    def alloc(self, shape: Sequence[Expr], dtype: str, name: str = "local", scope: str = "global") -> Buffer:
        """A buffer that lives to the end of the scope; a `local` one is on the stack, or in registers."""
        # LLVM has no room of nothing, which is what loops over no elements ask for.
        found = [1 if isinstance(size, int) and size == 0 else size for size in shape]
        sizes = [index_const(size) for size in found or [1]]
        if scope == "global" and not _fits_stack(sizes, dtype):
            return self._alloc_workspace(sizes, dtype, name)
        made = tirx.decl_buffer(sizes, dtype, name=name, scope=scope)
        self.emit(tirx.AllocBuffer(made, {"disable_lower_builtin": tirx.IntImm("bool", 1)}))
        return made

    def _alloc_workspace(self, sizes: Sequence[Expr], dtype: str, name: str) -> Buffer:
        """Memory from the runtime's pool: TVM's own lowering of it looks for a device that none has named."""
        kind = tvm.DataType(dtype)
        count = tirx.const((kind.bits + 7) // 8, "int64")
        for size in sizes:
            count = count * size.astype("int64")
        data = pointer(f"{name}_data", dtype)
        cpu = tirx.const(1, "int32"), tirx.const(0, "int32")
        code, bits = tirx.const(kind.type_code, "int32"), tirx.const(kind.bits, "int32")
        found = tirx.call_intrin(
            data.ty, "tirx.TVMBackendAllocWorkspace", *cpu, count.astype("uint64"), code, bits
        )
        self.emit(tirx.Bind(data, found))
        made = tirx.decl_buffer(sizes, dtype, name=name, data=data)
        self.emit(tirx.DeclBuffer(made, data=data))
        free = tirx.call_intrin("int32", "tirx.TVMBackendFreeWorkspace", *cpu, data)
        self._ends[-1].insert(0, tirx.Evaluate(free))
        return made

    @property
    def statements(self) -> list[Any]:
        """Those of the innermost scope so far."""
        return self._scopes[-1]

    def body(self) -> Any:
        """All statements as one."""
        statements = self._scopes[0] + self._ends[0]
        return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


_STACK = 4096
"""Bytes of a buffer that is on the stack at most."""


def _compares(value: Expr) -> bool:
    """Whether an expression is made of a comparison."""
    if str(getattr(value.ty, "dtype", "")) == "bool":
        return True
    operands = [getattr(value, name, None) for name in ("a", "b", "value", "true_value", "false_value")]
    operands += getattr(value, "args", ())
    return any(isinstance(operand, tvm.ir.Expr) and _compares(operand) for operand in operands)


def _fits_stack(sizes: Sequence[Expr], dtype: str) -> bool:
    """Whether a buffer is small enough for the stack, which LLVM keeps in registers where it can."""
    count = (tvm.DataType(dtype).bits + 7) // 8
    for size in sizes:
        if not isinstance(size, tirx.IntImm):
            return False
        count *= int(size)
    return count <= _STACK


def pointer(name: str, dtype: str) -> Any:
    """A parameter that points to elements of a type."""
    return tirx.Var(name, PointerType(PrimType(dtype), "global"))


IN_VECTORS = "planform.in_vectors"
"""The attribute of functions that write nothing but vectors."""


def private_function(parameters: Sequence[Any], body: Any, in_vectors: bool = False) -> Any:
    """A function of pointers and sizes for calls from the same module: 0 is success.

    With `in_vectors` no loop of its is left to the compiler to make vectors of.
    """
    for parameter in parameters:
        if not isinstance(parameter.ty, PointerType):
            # TVM divides at length what it does not know to be positive, and sometimes fails to.
            body = tirx.IfThenElse(parameter >= 0, body, None)
    done = tirx.Return(tirx.const(0, "int32"))
    attributes = tvm.ir.make_node("ir.DictAttrs", **{"tirx.noalias": True, IN_VECTORS: in_vectors})
    return tirx.PrimFunc(
        list(parameters), tirx.SeqStmt([body, done]), ret_type=PrimType("int32"), attrs=attributes
    )


CURRENT: ContextVar[Loops | None] = ContextVar("loops", default=None)
"""The loops that are being written."""
