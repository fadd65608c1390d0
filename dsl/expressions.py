"""Evaluating expressions: static ones to values, those over tensors to nodes of the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, cast

from ..compiler.dims import Dim, at_least, divisible, equal
from ..compiler.dtypes import DTYPES
from ..compiler.graph import Value
from . import limits, statics, syntax
from .access import Access
from .budget import Exhausted
from .diagnostics import PlanError
from .foreign import of_name
from .run import exhausted, unbound
from .scope import Frame
from .statics import StaticError
from .values import FRACTION, POISON, BlockValue, DTypeValue, Poisoned, Record, kind_of

_TENSOR_OPS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floor_divide",
    "%": "remainder",
    "**": "pow",
    "@": "matmul",
    "==": "eq",
    "!=": "ne",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
}
MODES = ("train", "eval", "deploy")
_HELD = frozenset({str, list, tuple, dict, Record})
# Expressions that read a value which was made, and paid for, before.
_READERS = (syntax.Name, syntax.Attribute, syntax.Index, syntax.Conditional)


class Expressions(Access, ABC):
    """The part of elaboration that evaluates expressions."""

    @abstractmethod
    def call(
        self,
        node: syntax.Call,
        frame: Frame,
        label: syntax.String | None,
        piped: list[Any] | None,
        frozen: bool,
    ) -> Any:
        """Evaluate a call; `piped` holds the inputs that come from `->`."""

    # ------------------------------------------------------------ entry points

    def evaluate(self, node: syntax.Expr, frame: Frame) -> Any:
        """The value of an expression; raises `PlanError`, or `Poisoned` where something before it failed."""
        # What every expression pays is paid here, inline: elaboration spends its time with this.
        budget = self.budget
        budget.left -= limits.STEP
        if budget.left < 0:
            raise exhausted(node)
        if self.depth >= limits.MAX_DEPTH:
            raise self.error(
                "E205", node, frame, what="the depth of expressions in each other", limit=limits.MAX_DEPTH
            )
        self.depth += 1
        try:
            value: Any = getattr(self, "_eval_" + type(node).__name__)(node, frame)
        finally:
            self.depth -= 1
        if type(value) in _HELD and not isinstance(node, _READERS):
            self.weigh(value, node, frame)
        return value

    def evaluate_all(self, nodes: tuple[syntax.Expr, ...], frame: Frame) -> list[Any]:
        """The values of expressions that do not depend on each other: what is wrong with each is reported."""
        found: list[Any] = []
        failed = False
        for node in nodes:
            try:
                found.append(self.evaluate(node, frame))
            except Exhausted:
                raise
            except PlanError as error:
                self.report_all(error)
                failed = True
            except Poisoned:
                failed = True
        if failed:
            raise Poisoned
        return found

    def condition(self, node: syntax.Expr, frame: Frame, what: str = "condition") -> bool:
        """The value of a static condition."""
        value = self.evaluate(node, frame)
        if not isinstance(value, bool):
            help = (
                ["conditions are static; use `where(condition, a, b)` on tensors, or bind the sizes in it"]
                if isinstance(value, Value)
                else []
            )
            raise self.error(
                "E201", node, frame, what=f"a {what}", wanted="a bool", got=kind_of(value), help=help
            )
        return value

    def text(self, node: syntax.String, frame: Frame) -> str:
        """A string with its interpolations filled in."""
        if len(node.parts) == 1 and isinstance(node.parts[0], str):
            return node.parts[0]
        found: list[str] = []
        for part in node.parts:
            if isinstance(part, str):
                found.append(part)
            else:
                value = self.evaluate(part, frame)
                found.append(self.static(part, frame, lambda value=value: statics.FUNCTIONS["str"](value)))
                self.spend(len(found[-1]) >> limits.TEXT_SHIFT, part)
        return self.static(node, frame, lambda: statics.bounded("".join(found)))

    def static(self, node: syntax.Node, frame: Frame, compute: Any) -> Any:
        """Run a static computation; its failures become diagnostics at the node."""
        try:
            return compute()
        except StaticError as error:
            raise self.static_error(error, node, frame) from None

    def static_error(self, error: StaticError, node: syntax.Node, frame: Frame) -> Exception:
        """The diagnostic of a failed static computation."""
        if error.kind == "value":
            return self.error("E202", node, frame, message=error.message)
        if error.kind == "size":
            sizes = [size for size in error.fields["sizes"] if isinstance(size, Dim)]
            return self.error(
                "E203",
                node,
                frame,
                what="value",
                sizes=unbound(*sizes),
                help=["bind it where the plan is named: `plan NAME = model() at (H=224, W=224)`"],
            )
        if error.kind == "large":
            return self.error("E204", node, frame, **error.fields)
        if error.kind == "many":
            return self.error("E205", node, frame, **error.fields)
        if error.kind == "operands":
            return self.error("E213", node, frame, **error.fields)
        function = node.function if isinstance(node, syntax.Call) else None
        what = f"an argument of `{function.id}`" if isinstance(function, syntax.Name) else "this value"
        got = str(error.fields.get("got", ""))
        tensor = got.startswith("a tensor") and got != FRACTION
        help = ["`shape(x)` gives the sizes of a tensor, `rank(x)` the number of its axes"] if tensor else []
        return self.error("E201", node, frame, what=what, help=help, **error.fields)

    # ------------------------------------------------------------ atoms

    def _eval_Number(self, node: syntax.Number, frame: Frame) -> Any:
        return node.value

    def _eval_String(self, node: syntax.String, frame: Frame) -> Any:
        return self.text(node, frame)

    def _eval_Constant(self, node: syntax.Constant, frame: Frame) -> Any:
        return node.value

    def _eval_Name(self, node: syntax.Name, frame: Frame) -> Any:
        value = self.lookup(node.id, frame)
        if value is POISON:
            raise Poisoned
        if value is None and node.id not in frame.names and node.id not in frame.file.names:
            raise self.undefined(node, frame)
        return value

    def lookup(self, name: str, frame: Frame) -> Any:
        """The value of a name: local, of the file, a mode, a dtype, or an operator as a block value; else
        None.
        """
        if name in frame.names:
            return frame.names[name]
        names = frame.file.names
        if name in names:
            return names[name]
        if name == "mode":
            return self.mode
        if name in MODES:
            return name
        if name in statics.CONSTANTS:
            return statics.CONSTANTS[name]
        if name in DTYPES or name == "int":
            return DTypeValue("i64" if name == "int" else name)
        operator = self.operator(name)
        return None if operator is None else BlockValue(operator)

    @abstractmethod
    def operator(self, name: str) -> Any:
        """The operator class of the registry, or None."""

    def undefined(self, node: syntax.Name, frame: Frame) -> Exception:
        """The error of an unknown name, with suggestions."""
        known = [
            *frame.names,
            *frame.file.names,
            *statics.FUNCTIONS,
            *statics.CONSTANTS,
            *self.operator_names(),
        ]
        return self.error("E101", node, frame, name=node.id, help=of_name(node.id, known))

    def _eval_ListExpr(self, node: syntax.ListExpr, frame: Frame) -> Any:
        return self._items(node.items, frame)

    def _eval_TupleExpr(self, node: syntax.TupleExpr, frame: Frame) -> Any:
        return tuple(self._items(node.items, frame))

    def _items(self, nodes: tuple[syntax.Expr, ...], frame: Frame) -> list[Any]:
        values = self.evaluate_all(nodes, frame)
        if not any(isinstance(node, syntax.Spread) for node in nodes):
            return values
        found: list[Any] = []
        for node, value in zip(nodes, values, strict=True):
            spread = isinstance(node, syntax.Spread)
            found += self.static(node, frame, lambda value=value: statics.items(value)) if spread else [value]
        return self.static(nodes[0], frame, lambda: statics.bounded(found))

    def _eval_Spread(self, node: syntax.Spread, frame: Frame) -> Any:
        return self.evaluate(node.value, frame)

    def _eval_RecordExpr(self, node: syntax.RecordExpr, frame: Frame) -> Any:
        values = self.evaluate_all(tuple([item for _, item in node.fields]), frame)
        return Record(zip([name for name, _ in node.fields], values, strict=True))

    def _eval_Comprehension(self, node: syntax.Comprehension, frame: Frame) -> Any:
        found: list[Any] = []
        before = {
            name: frame.names[name]
            for clause in node.clauses
            for name in clause.targets
            if name in frame.names
        }

        def run(level: int) -> None:
            if level == len(node.clauses):
                found.append(self.evaluate(node.element, frame))
                return
            clause = node.clauses[level]
            for item in self.iterate(clause.iterable, frame):
                self.spend(limits.STEP, clause)
                self.bind_names(clause.targets, item, clause, frame)
                if all(self.condition(condition, frame) for condition in clause.conditions):
                    run(level + 1)

        run(0)
        for clause in node.clauses:
            for name in clause.targets:
                frame.names.pop(name, None)
        frame.names.update(before)
        return self.static(node, frame, lambda: statics.bounded(found))

    def iterate(self, node: syntax.Expr, frame: Frame) -> list[Any]:
        """The items that a loop runs over."""
        value = self.evaluate(node, frame)
        if not isinstance(value, (list, tuple)):
            if isinstance(value, Dim):
                raise self.error("E203", node, frame, what="loop bound", sizes=unbound(value))
            help = ["write `range(...)`"] if isinstance(value, int) else []
            raise self.error(
                "E201",
                node,
                frame,
                what="what a loop runs over",
                wanted="a list",
                got=kind_of(value),
                help=help,
            )
        items = cast("list[Any]", value)
        self.spend(len(items), node)
        return list(items)

    def bind_names(self, names: tuple[str, ...], value: Any, node: syntax.Node, frame: Frame) -> None:
        """Bind loop or assignment names, unpacking a tuple or list over several."""
        if len(names) == 1:
            frame.names[names[0]] = value
            return
        if value is POISON:
            parts: list[Any] = [POISON] * len(names)
        elif isinstance(value, (tuple, list)) and len(cast("list[Any]", value)) == len(names):
            parts = list(cast("list[Any]", value))
        else:
            number = len(cast("list[Any]", value)) if isinstance(value, (tuple, list)) else None
            got = kind_of(value) if number is None else f"{kind_of(value)} of {number}"
            raise self.error("E211", node, frame, got=got, wanted=len(names))
        for name, part in zip(names, parts, strict=True):
            frame.names[name] = part

    # ------------------------------------------------------------ operators

    def _eval_Unary(self, node: syntax.Unary, frame: Frame) -> Any:
        value = self.evaluate(node.operand, frame)
        if isinstance(value, Value):
            if node.op == "not":
                return self.apply("logical_not", [value], node, frame)
            return self.apply("neg", [value], node, frame) if node.op == "-" else value
        if node.op == "not":
            return not self.static(node.operand, frame, lambda: statics.truth(value))
        if isinstance(value, bool) or not isinstance(value, (int, float, Dim)):
            raise self.error(
                "E201",
                node.operand,
                frame,
                what=f"the operand of `{node.op}`",
                wanted="a number",
                got=kind_of(value),
            )
        return -value if node.op == "-" else value

    def _eval_Binary(self, node: syntax.Binary, frame: Frame) -> Any:
        left, right = self.evaluate_all((node.left, node.right), frame)
        return self.binary(node.op, left, right, node, frame)

    def binary(self, op: str, left: Any, right: Any, node: syntax.Node, frame: Frame) -> Any:
        """`left op right` for tensors or static values."""
        scalar = (int, float, Dim)
        if isinstance(left, Value) and isinstance(right, Value):
            return self.apply(_TENSOR_OPS[op], [left, right], node, frame)
        if isinstance(left, Value) and isinstance(right, scalar) and op != "@":
            return self.apply(_TENSOR_OPS[op], [left], node, frame, scalar=right)
        if isinstance(right, Value) and isinstance(left, scalar) and op != "@":
            return self.apply(_TENSOR_OPS[op], [right], node, frame, scalar=left, reverse=True)
        if statics.fractional(op, left, right):
            left, right = self.lifted(left, node, frame), self.lifted(right, node, frame)
            return self.binary(op, left, right, node, frame)
        return self.static(node, frame, lambda: self._arithmetic(op, left, right, node, frame))

    def _arithmetic(self, op: str, left: Any, right: Any, node: syntax.Node, frame: Frame) -> Any:
        result = statics.arithmetic(op, left, right)
        if op in ("//", "%") and isinstance(right, Dim):
            self.need_divisor(right, f"the divisor of `{op}`", node, frame)
        return result

    def need_divisor(self, size: Dim, what: str, node: syntax.Node, frame: Frame) -> None:
        """A size that is divided by is not 0: a guard, unless it is known; raises `StaticError`."""
        if at_least(size, 1) or at_least(-1, size):
            return
        if equal(size, 0):
            raise StaticError("value", "division by zero")
        self.guard(">=", size, 1, what, node, frame)

    def lifted(self, value: Any, node: syntax.Node, frame: Frame) -> Any:
        """A size that is not bound as a tensor without axes, for arithmetic that leaves the whole numbers: it
        is computed when the plan runs, in float64 as the arithmetic of bound sizes is.
        """
        if not isinstance(value, Dim):
            return value
        return self.apply("full", [], node, frame, sizes=(), value=value, dtype="f64")

    def _eval_Compare(self, node: syntax.Compare, frame: Frame) -> Any:
        left = self.evaluate(node.first, frame)
        result: Any = True
        for position, (op, operand) in enumerate(node.rest):
            right = self.evaluate(operand, frame)
            result = self.compare(op, left, right, node, frame)
            if isinstance(result, Value):
                if len(node.rest) > 1:
                    raise self.error("E202", node, frame, message="tensors are compared two at a time")
            elif not result:
                return False
            elif position < len(node.rest) - 1:
                left = right
        return result

    def compare(self, op: str, left: Any, right: Any, node: syntax.Compare, frame: Frame) -> Any:
        """One comparison, static or of tensors."""
        if op in ("is", "is not"):
            return (left is None) == (op == "is")
        for value in (left, right):
            if type(value) in _HELD:
                self.weigh(value, node, frame)
        if op in ("in", "not in"):
            found = any(
                statics.compare("==", left, item)
                for item in self.static(node, frame, lambda: statics.items(right))
            )
            return found == (op == "in")
        if isinstance(left, Value) or isinstance(right, Value):
            return self.binary(op, left, right, node, frame)
        # `H % 32 == 0` is asked as divisibility, which facts decide.
        try:
            return statics.compare(op, left, right)
        except StaticError as error:
            if error.kind != "size":
                raise self.static_error(error, node, frame) from None
            verdict = self._divisibility(op, right, node, frame)
            if verdict is None:
                raise self.error(
                    "E203",
                    node,
                    frame,
                    what="condition",
                    sizes=unbound(*[size for size in error.fields["sizes"] if isinstance(size, Dim)]),
                    help=["bind it where the plan is named: `plan NAME = model() at (H=224, W=224)`"],
                ) from None
            return verdict

    def _divisibility(self, op: str, right: Any, node: syntax.Compare, frame: Frame) -> bool | None:
        first = node.first
        if right != 0 or op not in ("==", "!=") or not isinstance(first, syntax.Binary) or first.op != "%":
            return None
        verdict = divisible(self.evaluate(first.left, frame), self.evaluate(first.right, frame))
        return verdict if verdict is None else verdict == (op == "==")

    def _eval_Logic(self, node: syntax.Logic, frame: Frame) -> Any:
        result: Any = None
        for operand in node.operands:
            value = self.evaluate(operand, frame)
            if isinstance(value, Value) or isinstance(result, Value):
                result = (
                    value
                    if result is None
                    else self.apply(f"logical_{node.op}", [result, value], node, frame)
                )
                continue
            result = self.static(operand, frame, lambda value=value: statics.truth(value))
            if result == (node.op == "or"):
                return result
        return result

    def _eval_Conditional(self, node: syntax.Conditional, frame: Frame) -> Any:
        return self.evaluate(node.then if self.condition(node.condition, frame) else node.otherwise, frame)

    # ------------------------------------------------------------ calls

    def _eval_Call(self, node: syntax.Call, frame: Frame) -> Any:
        return self.call(node, frame, None, None, False)

    def _eval_Labelled(self, node: syntax.Labelled, frame: Frame) -> Any:
        if not isinstance(node.value, syntax.Call):
            raise self.error(
                "E403", node.label, frame, label=node.label.span.text, reason="what follows is not a call"
            )
        return self.call(node.value, frame, node.label, None, False)

    def _eval_Pipe(self, node: syntax.Pipe, frame: Frame) -> Any:
        try:
            value = self.evaluate(node.value, frame)
        except Poisoned:
            self._visit_stages(node, frame)
            raise
        for stage in node.stages:
            if stage.when is not None and not self.condition(stage.when, frame):
                continue
            piped = list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else [value]
            value = self.call(stage.call, frame, stage.label, piped, stage.frozen)
        return value

    def _visit_stages(self, node: syntax.Pipe, frame: Frame) -> None:
        # The pipe has nothing to carry, but mistakes in the arguments of its stages are roots of their own.
        for stage in node.stages:
            with suppress(Poisoned):
                self.evaluate_all(tuple([argument.value for argument in stage.call.arguments]), frame)
