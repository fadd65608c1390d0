"""Evaluating expressions: static ones to values, those over tensors to nodes of the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, cast

from ..compiler.dtypes import DTYPES
from ..compiler.graph.graph import Value
from ..compiler.sizes.dims import Dim, SizeTooLarge
from . import limits, statics, syntax
from .budget import Exhausted
from .diagnostics import PlanError
from .foreign import of_name
from .operations import HELD, Operations
from .run import exhausted, unbound
from .scope import Frame
from .statics import StaticError
from .values import FRACTION, POISON, BlockValue, DTypeValue, Poisoned, Record, kind_of

MODES = ("train", "eval", "deploy")
# Expressions that read a value which was made, and paid for, before.
_READERS = (syntax.Name, syntax.Attribute, syntax.Index, syntax.Conditional)


class Expressions(Operations, ABC):
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
        if type(value) in HELD and not isinstance(node, _READERS):
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
        except SizeTooLarge:
            raise self.static_error(StaticError("large", limit=statics.SIZES), node, frame) from None

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
