"""Kernels as C that checks itself: each read and write looks whether its place is there, and was written.

It is C of what the statements say, without TVM's simplifier or LLVM between. Loops run one turn after
another; of a parallel loop each turn may read only what it wrote itself, or what was there before, and write
only what no other turn wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tvm import tirx
from tvm.ir import Call, PointerType, TensorLoad

from ....compiler.errors import PlanformError
from ..tensor_ir.loops import type_of

_TYPES = {
    "bool": "uint8_t",
    "float16": "_Float16",
    "float32": "float",
    "float64": "double",
} | {f"{kind}{bits}": f"{kind}{bits}_t" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_BINARY = {
    tirx.Add: "+",
    tirx.Sub: "-",
    tirx.Mul: "*",
    tirx.BitwiseAnd: "&",
    tirx.BitwiseOr: "|",
    tirx.BitwiseXor: "^",
    tirx.LShift: "<<",
    tirx.RShift: ">>",
}
_RELATIONS = {
    tirx.EQ: "==",
    tirx.NE: "!=",
    tirx.LT: "<",
    tirx.LE: "<=",
    tirx.GT: ">",
    tirx.GE: ">=",
}
_QUOTIENTS = {tirx.Div: "div", tirx.Mod: "mod", tirx.FloorDiv: "floordiv", tirx.FloorMod: "floormod"}
_MATH = ("fabs", "sqrt", "floor", "nearbyint", "trunc", "ceil", "round", "exp", "log", "pow", "fmod", "fma")

KINDS = ("outside", "unwritten", "raced", "too small", "division by zero")
"""What is wrong with an access: its index; it reads what nobody wrote; another turn of a parallel loop wrote
there; the memory behind the buffer; a divisor."""

PRELUDE = r"""
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
enum { OUTSIDE, UNWRITTEN, RACED, SMALL, ZERO, AXES = 12, MOST = 256 };
// Of each element the number of the turn that wrote it, or 0.
typedef struct { char *data; uint32_t *written; int64_t bytes; } Pointer;
typedef struct { char *data; uint32_t *written; int rank; int64_t shape[AXES]; } Buffer;
typedef struct { int64_t site, kind, index[AXES]; } Fault;
Fault faults[MOST];
int64_t found;
static char nowhere[64];
// The turn that runs, and the last before the parallel loop around it.
static uint32_t turn = 1, before = 1;
static void fault(int site, int kind, int rank, const int64_t *index) {
  for (int64_t n = 0; n < found; n++) if (faults[n].site == site && faults[n].kind == kind) return;
  if (found == MOST) return;
  faults[found].site = site;
  faults[found].kind = kind;
  for (int axis = 0; axis < AXES; axis++) faults[found].index[axis] = axis < rank ? index[axis] : 0;
  found++;
}
static inline char *at(const Buffer *b, int site, int size, int store, const int64_t *index) {
  int64_t flat = 0;
  for (int axis = 0; axis < b->rank; axis++) {
    if (index[axis] < 0 || index[axis] >= b->shape[axis]) {
      fault(site, OUTSIDE, b->rank, index);
      return nowhere;
    }
    flat = flat * b->shape[axis] + index[axis];
  }
  if (b->written) {
    uint32_t writer = b->written[flat];
    if (!store && !writer) fault(site, UNWRITTEN, b->rank, index);
    if (writer > before && writer != turn) fault(site, RACED, b->rank, index);
    if (store) b->written[flat] = turn;
  }
  return b->data + flat * size;
}
static Buffer declared(Pointer p, int site, int size, int rank, const int64_t *shape) {
  Buffer b = {p.data, p.written, rank, {0}};
  int64_t count = 1;
  for (int axis = 0; axis < rank; axis++) count *= b.shape[axis] = shape[axis];
  if (count * size > p.bytes) fault(site, SMALL, rank, shape);
  return b;
}
static Pointer fresh(Pointer *own, int64_t bytes) {
  if (bytes > own->bytes || !own->data) {
    own->data = realloc(own->data, bytes + 1);
    own->written = realloc(own->written, 4 * bytes + 4);
  }
  own->bytes = bytes;
  memset(own->data, 0xFF, bytes);
  memset(own->written, 0, 4 * bytes);
  return *own;
}
static inline int64_t quotient(int64_t a, int64_t b, int site, int rest, int floored) {
  if (!b) { fault(site, ZERO, 1, &a); return 0; }
  if (b == -1) return rest ? 0 : (int64_t)(0 - (uint64_t)a);
  int64_t q = a / b, r = a % b;
  if (floored && r && (r < 0) != (b < 0)) { q--; r += b; }
  return rest ? r : q;
}
"""


class Unreadable(PlanformError, ValueError):
    """TIR that is not known how to say in C."""


class Site(NamedTuple):
    """An access in a kernel: the buffer's name, and the expression or statement."""

    buffer: str
    access: Any


class Source:
    """C functions of kernels, by name, and the sites that faults have numbers of."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self.sites: list[Site] = []
        self.text = PRELUDE + "\n".join(
            _Printer(self.sites).function(name, each) for name, each in functions.items()
        )


class _Printer:
    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self.lines: list[str] = []
        self.names: dict[Any, str] = {}

    def function(self, name: str, function: Any) -> str:
        """`void <name>(Pointer *pointers, int64_t *sizes)`."""
        pointers = sizes = 0
        for parameter in function.params:
            if isinstance(parameter.ty, PointerType):
                self.emit(f"Pointer {self.name(parameter)} = pointers[{pointers}];")
                pointers += 1
            else:
                kind = _TYPES[str(parameter.ty.dtype)]
                self.emit(f"{kind} {self.name(parameter)} = ({kind})sizes[{sizes}];")
                sizes += 1
        self.statement(function.body)
        body = "\n".join(self.lines)
        return f"void {name}(const Pointer *pointers, const int64_t *sizes) {{\n{body}\n}}"

    def emit(self, line: str) -> None:
        self.lines.append(line)

    def name(self, variable: Any) -> str:
        """A variable's or buffer's own name in C."""
        if variable not in self.names:
            self.names[variable] = f"v{len(self.names)}"
        return self.names[variable]

    def site(self, buffer: str, thing: Any) -> int:
        """The number of an access."""
        self.sites.append(Site(buffer, thing))
        return len(self.sites) - 1

    # Statements.

    def statement(self, node: Any) -> None:
        """A statement's lines."""
        if isinstance(node, tirx.SeqStmt):
            for each in node.seq:
                self.statement(each)
        elif isinstance(node, tirx.For):
            kind, name = _TYPES[type_of(node.loop_var)], self.name(node.loop_var)
            first, count = self.value(node.min), self.value(node.extent)
            parallel = node.kind == tirx.ForKind.PARALLEL
            if parallel:
                self.emit("before = turn;")
            self.emit(
                f"for ({kind} {name} = {first}, e{name} = {name} + {count}; {name} < e{name}; {name}++) {{"
            )
            if parallel:
                self.emit("turn++;")
            self.statement(node.body)
            self.emit("}")
            if parallel:
                self.emit("before = ++turn;")
        elif isinstance(node, tirx.While):
            self.emit(f"while ({self.value(node.condition)})")
            self.block(node.body)
        elif isinstance(node, tirx.IfThenElse):
            self.emit(f"if ({self.value(node.condition)})")
            self.block(node.then_case)
            if node.else_case is not None:
                self.emit("else")
                self.block(node.else_case)
        elif isinstance(node, tirx.BufferStore):
            buffer: Any = node.buffer
            value, kind = self.value(node.value), _TYPES[str(buffer.dtype)]
            place = self.place(buffer, node.indices, True, node)
            self.emit(f"{{ {kind} value = {value}; *({kind} *){place} = value; }}")
        elif isinstance(node, tirx.Bind):
            self.bind(node.var, node.value)
        elif isinstance(node, tirx.DeclBuffer):
            self.declare(node.buffer, self.name(node.data))
        elif isinstance(node, tirx.AllocBuffer):
            made: Any = node.buffer
            size, shape = self.bytes(made), " * ".join(map(self.wide, made.shape))
            own = f"own{self.name(made)}"
            self.emit(f"static Pointer {own}; fresh(&{own}, {size} * {shape});")
            self.declare(made, own)
        elif isinstance(node, tirx.Return):
            self.emit("return;")
        elif isinstance(node, tirx.Evaluate):
            # Memory that goes back to the pool, and what is fetched ahead.
            assert _callee(node.value).rpartition(".")[2] in ("TVMBackendFreeWorkspace", "call_llvm_intrin")
        else:
            raise Unreadable(f"the statement {type(node).__name__}")

    def block(self, body: Any) -> None:
        self.emit("{")
        self.statement(body)
        self.emit("}")

    def bind(self, variable: Any, value: Any) -> None:
        name = self.name(variable)
        if isinstance(variable.ty, PointerType):
            assert _callee(value).endswith("TVMBackendAllocWorkspace")
            self.emit(f"static Pointer {name}; fresh(&{name}, {self.value(value.args[2])});")
        else:
            self.emit(f"{_TYPES[str(variable.ty.dtype)]} {name} = {self.value(value)};")

    def declare(self, buffer: Any, pointer: str) -> None:
        name, shape = self.name(buffer), ", ".join(map(self.wide, buffer.shape))
        site = self.site(buffer.name, buffer.shape)
        given = f"{pointer}, {site}, {self.bytes(buffer)}, {len(buffer.shape)}, (int64_t[]){{{shape}}}"
        self.emit(f"Buffer {name} = declared({given});")

    def bytes(self, buffer: Any) -> str:
        return f"sizeof({_TYPES[str(buffer.dtype)]})"

    # Expressions.

    def wide(self, node: Any) -> str:
        """An index or size in 64 bits."""
        return f"(int64_t)({self.value(node)})"

    def place(self, buffer: Any, indices: Any, store: bool, node: Any) -> str:
        index = ", ".join(map(self.wide, indices))
        given = f"{self.site(buffer.name, node)}, {self.bytes(buffer)}, {int(store)}, (int64_t[]){{{index}}}"
        return f"at(&{self.name(buffer)}, {given})"

    def value(self, node: Any) -> str:
        """An expression; both values of a choice are worked out, and both sides of an `and`, as TVM does."""
        if isinstance(node, int):
            return str(node)
        if isinstance(node, TensorLoad):
            source: Any = node.source
            kind = _TYPES[str(source.dtype)]
            return f"(*({kind} *){self.place(source, node.indices, False, node)})"
        kind = _TYPES[type_of(node)]
        if isinstance(node, tirx.Var):
            return self.name(node)
        if isinstance(node, tirx.IntImm):
            return f"({kind}){_whole(int(node))}"
        if isinstance(node, tirx.FloatImm):
            return f"({kind}){_number(float(node.value))}"
        if isinstance(node, tirx.Cast):
            inner = self.value(node.value)
            return f"(uint8_t)({inner} != 0)" if type_of(node) == "bool" else f"({kind})({inner})"
        if isinstance(node, tirx.Not):
            return f"(!{self.value(node.a)})"
        if isinstance(node, tirx.BitwiseNot):
            return f"({kind})(~{self.value(node.a)})"
        if isinstance(node, tirx.Select):
            condition, yes, no = (
                self.value(each) for each in (node.condition, node.true_value, node.false_value)
            )
            return f"({{ uint8_t c = {condition}; {kind} y = {yes}, n = {no}; c ? y : n; }})"
        if isinstance(node, Call):
            return self.call(node, kind)
        left, right = self.value(node.a), self.value(node.b)
        for type, sign in _BINARY.items():
            if isinstance(node, type):
                return f"({kind})({left} {sign} {right})"
        for type, sign in _RELATIONS.items():
            if isinstance(node, type):
                return f"({left} {sign} {right})"
        if isinstance(node, (tirx.And, tirx.Or)):
            return f"(({left} != 0) {'&' if isinstance(node, tirx.And) else '|'} ({right} != 0))"
        if isinstance(node, (tirx.Min, tirx.Max)):
            sign = "<" if isinstance(node, tirx.Min) else ">"
            return f"({{ {kind} a = {left}, b = {right}; a {sign} b ? a : b; }})"
        return self.quotient(node, kind, left, right)

    def quotient(self, node: Any, kind: str, left: str, right: str) -> str:
        how = next((name for type, name in _QUOTIENTS.items() if isinstance(node, type)), None)
        if how is None:
            raise Unreadable(f"the expression {type(node).__name__}")
        if "float" in type_of(node):
            exact = {"div": "{} / {}", "mod": "fmod({}, {})", "floordiv": "floor({} / {})"}[how]
            return f"({kind})({exact.format(left, right)})"
        rest, floored = int("mod" in how), int("floor" in how)
        return f"({kind})quotient({left}, {right}, {self.site('', node)}, {rest}, {floored})"

    def call(self, node: Any, kind: str) -> str:
        callee = _callee(node).rpartition(".")[2]
        if callee == "if_then_else":
            condition, yes, no = map(self.value, node.args)
            return f"({condition} ? {yes} : {no})"
        if callee == "reinterpret":
            given = _TYPES[type_of(node.args[0])]
            return f"({{ union {{ {given} x; {kind} y; }} u = {{{self.value(node.args[0])}}}; u.y; }})"
        if callee == "call_pure_extern":
            name, *rest = node.args
            return f"{name.value}({', '.join(map(self.value, rest))})"
        if callee in _MATH:
            return f"({kind}){callee}({', '.join(map(self.value, node.args))})"
        raise Unreadable(f"the function {callee}")


def _callee(node: Any) -> str:
    return str(getattr(getattr(node, "op", None), "name", ""))


def _whole(value: int) -> str:
    return f"{value}ULL" if value >= 1 << 63 else f"({value + 1}LL - 1)" if value < 0 else f"{value}LL"


def _number(value: float) -> str:
    if value != value:
        return "NAN"
    if value in (float("inf"), float("-inf")):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    return f"({value.hex()})"
