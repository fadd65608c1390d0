"""Running the statements of blocks."""

from __future__ import annotations

from abc import ABC
from typing import Any, cast

from ..compiler.graph.builder import Builder
from ..compiler.graph.graph import Value
from ..compiler.ops.core import init as initialisers
from ..compiler.ops.core.init import Init
from ..compiler.sizes.dims import Dim, divisible, holds, without_assumptions
from ..compiler.types import TensorType
from . import limits, statics, syntax
from .budget import Exhausted
from .diagnostics import Label, PlanError
from .labels import problem
from .scan import Scans
from .scope import Frame
from .suggest import did_you_mean
from .values import POISON, BlockDef, BlockValue, Poisoned, SharedValue, is_tensorish, kind_of


class _Returned:
    """What a body returned; a body that ends without `return` gives None instead."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Statements(Scans, ABC):
    """The part of elaboration that runs bodies."""

    def run_block(self, block: BlockDef, frame: Frame, node: syntax.Node) -> Any:
        """Run a block's body; raises `Poisoned` where its result could not be computed."""
        returned = self._body(block.syntax.body, frame)
        if returned is None:
            if any(value is POISON for value in frame.names.values()):
                raise Poisoned
            raise self.error("E110", block.syntax.target, frame)
        if returned.value is POISON:
            raise Poisoned
        if block.syntax.result is not None:
            at = block.syntax.result
            self.check(at, returned.value, f"the result of `{block.name}`", at, frame)
        return returned.value

    def _body(self, statements: tuple[syntax.Statement, ...], frame: Frame) -> _Returned | None:
        if self.depth >= limits.MAX_DEPTH:
            what = "the depth of bodies and expressions in each other"
            raise self.error("E205", statements[0], frame, what=what, limit=limits.MAX_DEPTH)
        self.depth += 1
        try:
            return self._statements(statements, frame)
        finally:
            self.depth -= 1

    def _statements(self, statements: tuple[syntax.Statement, ...], frame: Frame) -> _Returned | None:
        for number, statement in enumerate(statements):
            self.spend(limits.STEP, statement)
            try:
                returned = getattr(self, "_run_" + type(statement).__name__)(statement, frame)
            except Exhausted:
                raise
            except PlanError as error:
                self.report_all(error)
                returned = self._poison(statement, frame)
            except Poisoned:
                returned = self._poison(statement, frame)
            if returned is not None:
                if number + 1 < len(statements) and isinstance(statement, syntax.Return):
                    self.report_all(self.error("E111", statements[number + 1], frame))
                return returned
        return None

    def _poison(self, statement: syntax.Statement, frame: Frame) -> _Returned | None:
        """Whatever the failed statement would have bound is poisoned."""
        if isinstance(statement, (syntax.Return, syntax.Require)):
            # Behind a requirement that does not hold nothing else is worth saying.
            return _Returned(POISON)
        poisoned: _Returned | None = None
        pending: list[syntax.Node] = [statement]
        while pending:
            part = pending.pop()
            if isinstance(part, (syntax.Assign, syntax.For)):
                for target in part.targets:
                    frame.names[target.name] = POISON
            elif isinstance(part, (syntax.WeightDecl, syntax.Shared)):
                frame.names[part.target.name] = POISON
            elif isinstance(part, syntax.Return):
                poisoned = _Returned(POISON)
            pending.extend(child for child in limits.children(part) if isinstance(child, syntax.Statement))
        return poisoned

    # ------------------------------------------------------------ bindings

    def _run_Assign(self, node: syntax.Assign, frame: Frame) -> None:
        for target in node.targets:
            self._assignable(target, frame)
        value = self.evaluate(node.value, frame)
        if node.type is not None:
            self.check(node.type, value, f"`{node.targets[0].name}`", node.value, frame)
        self.bind_names(tuple([target.name for target in node.targets]), value, node.value, frame)
        for target in node.targets:
            frame.where[target.name] = node.value

    def _assignable(self, target: syntax.Target, frame: Frame) -> None:
        if target.name in frame.sizes:
            where = frame.where[target.name]
            raise self.error(
                "E103", target, frame, name=target.name, secondary=[Label(where.span, "bound here")]
            )
        if target.name == "mode":
            raise self.error("E109", target, frame, name=target.name)

    def _run_Return(self, node: syntax.Return, frame: Frame) -> _Returned:
        return _Returned(self.evaluate(node.value, frame))

    def _run_If(self, node: syntax.If, frame: Frame) -> _Returned | None:
        return self._body(node.then if self.condition(node.condition, frame) else node.otherwise, frame)

    def _run_For(self, node: syntax.For, frame: Frame) -> _Returned | None:
        for target in node.targets:
            self._assignable(target, frame)
        names = tuple([target.name for target in node.targets])
        for item in self.iterate(node.iterable, frame):
            self.spend(limits.STEP, node)
            self.bind_names(names, item, node, frame)
            for target in node.targets:
                frame.where[target.name] = node.iterable
            returned = self._body(node.body, frame)
            if returned is not None:
                return returned
        return None

    # ------------------------------------------------------------ require

    def _run_Require(self, node: syntax.Require, frame: Frame) -> None:
        self._require(node.condition, node, frame)

    def _require(self, condition: syntax.Expr, node: syntax.Require, frame: Frame) -> None:
        if isinstance(condition, syntax.Logic) and condition.op == "and":
            for operand in condition.operands:
                self._require(operand, node, frame)
            return
        if (
            isinstance(condition, syntax.Compare)
            and len(condition.rest) == 1
            and self._fact(condition, node, frame)
        ):
            return
        if not self.condition(condition, frame, "requirement"):
            raise self._unmet(condition, node, frame)

    def _unmet(self, condition: syntax.Expr, node: syntax.Require, frame: Frame) -> Exception:
        text = " ".join(condition.span.text.split())
        message = self.text(node.message, frame) if node.message is not None else f"`{text}` does not hold"
        return self.error("E212", condition, frame, message=message)

    def _fact(self, condition: syntax.Compare, node: syntax.Require, frame: Frame) -> bool:
        """Take a comparison of unbound sizes as a fact, with a guard; false where it is an ordinary
        condition.
        """
        op, operand = condition.rest[0]
        right = self.evaluate(operand, frame)
        first = condition.first
        divided = right == 0 if isinstance(right, int) else False
        if divided and op == "==" and isinstance(first, syntax.Binary) and first.op == "%":
            left, by = self.evaluate(first.left, frame), self.evaluate(first.right, frame)
            if not isinstance(left, Dim) and not isinstance(by, Dim):
                return False
            return self._settle(divisible(left, by), "%", left, by, condition, node, frame)
        left = self.evaluate(first, frame)
        if not (isinstance(left, (int, Dim)) and isinstance(right, (int, Dim))):
            return False
        if not isinstance(left, Dim) and not isinstance(right, Dim):
            return False
        if op in ("<", "<="):
            left, right, op = right, left, {"<": ">", "<=": ">="}[op]
        if op == ">":
            right, op = right + 1, ">="
        if op not in ("==", ">="):
            return False
        try:
            verdict: bool | None = statics.compare(op, left, right)
        except statics.StaticError:
            verdict = None
        return self._settle(verdict, op, left, right, condition, node, frame)

    def _settle(
        self,
        verdict: bool | None,
        relation: str,
        left: Any,
        right: Any,
        condition: syntax.Expr,
        node: syntax.Require,
        frame: Frame,
    ) -> bool:
        if verdict is False:
            with without_assumptions():
                verdict = holds(relation, left, right)
            if verdict is False:
                raise self._unmet(condition, node, frame)
        if not verdict:
            text = " ".join(condition.span.text.split())
            message = self.text(node.message, frame) if node.message is not None else f"`{text}`"
            self.guard(relation, left, right, message, condition, frame)
        return True

    # ------------------------------------------------------------ weights

    def _run_WeightDecl(self, node: syntax.WeightDecl, frame: Frame) -> None:
        name = node.target.name
        self._assignable(node.target, frame)
        if node.kind == "const":
            if node.init is None:
                raise self.error("E408", node, frame, name=name, what="a value: `const c = ...`")
            value = self._tensor(node, frame)
            if node.type is not None:
                self.check(node.type, value, f"`{name}`", node, frame)
            frame.names[name] = value
            return
        if not isinstance(node.type, syntax.ShapeType):
            raise self.error("E408", node, frame, name=name, what=f"a shape: `{node.kind} {name}: [C] = ...`")
        shape = tuple([self._weight_axis(axis, node, frame) for axis in node.type.axes])
        label = self._weight_label(node, node.kind, frame)
        dtype = "i64" if node.type.dtype == "int" else node.type.dtype or "float"
        init = self._initial(node, shape, dtype, frame)
        kind = "param" if node.kind == "param" else "buffer"
        frozen = node.frozen or frame.frozen
        value = self.make_weight(
            frame.prefix + label, shape, dtype, init, kind, frozen, True, frame.shared, node, frame
        )
        frame.names[name] = value
        frame.where[name] = node

    def _weight_axis(self, axis: syntax.Axis, node: syntax.WeightDecl, frame: Frame) -> Any:
        if axis.kind != "size" or axis.size is None:
            raise self.error("E408", axis, frame, name=node.target.name, what="a size for each axis")
        size = self.evaluate(axis.size, frame)
        if isinstance(size, bool) or not isinstance(size, (int, Dim)) or (isinstance(size, int) and size < 0):
            got = str(size) if isinstance(size, int) else kind_of(size)
            raise self.error("E201", axis, frame, what="an axis of a weight", wanted="a size", got=got)
        return size

    def _weight_label(self, node: syntax.WeightDecl | syntax.Shared, kind: str, frame: Frame) -> str:
        """The label that a declaration states, or else its name."""
        label = node.target.name if node.path is None else self.text(node.path, frame)
        reason = problem(label)
        if reason is None:
            return label
        help = [] if node.path is not None else [f'state a path beside the name: `{kind} {label} as "PATH"`']
        raise self.error("E403", node.path or node.target, frame, label=label, reason=reason, help=help)

    def _initial(self, node: syntax.WeightDecl, shape: tuple[Any, ...], dtype: str, frame: Frame) -> Any:
        if node.init is None:
            if node.kind == "buffer":
                raise self.error(
                    "E408", node, frame, name=node.target.name, what="an initial value: `= zeros()`"
                )
            return Init("constant", (("value", 0.0),))
        value = self.evaluate(node.init, frame)
        if isinstance(value, Init):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return initialisers.make("constant", {"value": value})
            except initialisers.BadArgument as error:
                what, got = "the initial value", str(value)
                raise self.error("E201", node.init, frame, what=what, wanted=error.wanted, got=got) from None
        value = self._as_tensor(value, node, frame)
        if value.type.shape != shape or (value.type.dtype != dtype):
            wanted = str(TensorType(shape, dtype))
            raise self.error(
                "E305", node.init, frame, name="the initial value", got=str(value.type), wanted=f"`{wanted}`"
            )
        graph = constant_graph(node.target.name, value)
        if graph is None:
            raise self.error(
                "E408",
                node.init,
                frame,
                name=node.target.name,
                what="an initial value that reads no input and no weight",
            )
        return graph

    def _tensor(self, node: syntax.WeightDecl, frame: Frame) -> Any:
        return self._as_tensor(self.evaluate(cast("syntax.Expr", node.init), frame), node, frame)

    def _as_tensor(self, value: Any, node: syntax.WeightDecl, frame: Frame) -> Value:
        if isinstance(value, Value):
            return value
        at = node.init or node
        if isinstance(value, (list, int, float)) and not is_tensorish(value):
            frozen_list = _nested(value)
            dtype = (
                {} if not isinstance(node.type, syntax.ShapeType) else {"dtype": node.type.dtype or "float"}
            )
            return self.apply("tensor", [], at, frame, values=frozen_list, **dtype)
        raise self.error(
            "E201",
            at,
            frame,
            what=f"the value of `{node.target.name}`",
            wanted="a tensor",
            got=kind_of(value),
        )

    # ------------------------------------------------------------ shared blocks

    def _run_Shared(self, node: syntax.Shared, frame: Frame) -> None:
        self._assignable(node.target, frame)
        value = self.evaluate(node.value, frame)
        if not isinstance(value, BlockValue):
            if isinstance(value, BlockDef):
                value = BlockValue(value)
            else:
                raise self.error(
                    "E201",
                    node.value,
                    frame,
                    what="what is shared",
                    wanted="a block without its inputs",
                    got=kind_of(value),
                )
        path = frame.prefix + self._weight_label(node, "shared", frame)
        frame.names[node.target.name] = SharedValue(
            value, path, node.target.name, node.frozen or frame.frozen, frame.region, node.span, frame.shared
        )
        frame.where[node.target.name] = node.value

    # ------------------------------------------------------------ taps

    def remember(self, prefix: str, first: int, result: Any, labelled: bool) -> None:
        """Keep which labelled calls a call ran, for `tap`."""
        last = len(self.labelled)
        for value in _leaves(result):
            self.calls.setdefault(value, []).append((prefix, first, last))
        if labelled:
            self.labelled.append((prefix[:-1], result))

    def tap(self, given: list[Any], node: syntax.Call, frame: Frame) -> Any:
        """The value of a labelled inner call of the call that made a value."""
        if len(given) != 2 or not isinstance(given[1], str):
            raise self.error(
                "E206", node, frame, name="`tap`", wanted="a value and a label", got="these do not fit"
            )
        label = given[1]
        for value in _leaves(given[0]):
            for prefix, first, last in reversed(self.calls.get(value, [])):
                wanted = prefix + label
                exact = [found for path, found in self.labelled[first:last] if path == wanted]
                if len(exact) > 1:
                    raise self.error("E507", node, frame, path=label, times=len(exact))
                if exact:
                    return exact[0]
                inside = [found for path, found in self.labelled[first:last] if path.startswith(wanted + ".")]
                if inside:
                    return inside[-1]
        known = {
            path.removeprefix(prefix)
            for value in _leaves(given[0])
            for prefix, first, last in self.calls.get(value, [])
            for path, _ in self.labelled[first:last]
        }
        # A prefix of labels is a label too.
        known |= {path.rsplit(".", count)[0] for path in known for count in range(1, path.count(".") + 1)}
        raise self.error("E501", node, frame, path=label, help=did_you_mean(label, known))


def _leaves(value: Any) -> list[Value]:
    if isinstance(value, Value):
        return [value]
    if isinstance(value, dict):
        return [leaf for item in cast("dict[str, Any]", value).values() for leaf in _leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in cast("list[Any]", value) for leaf in _leaves(item)]
    return []


def _nested(value: Any) -> Any:
    return tuple(_nested(item) for item in cast("list[Any]", value)) if isinstance(value, list) else value


def constant_graph(name: str, value: Value) -> Any:
    """The graph without inputs that computes a constant, or None if the value reads an input or a weight."""
    builder = Builder(name)
    copies: dict[Value, Value] = {}
    order: list[Any] = []
    stack: list[tuple[Any, bool]] = [(value.node, False)]
    seen: set[Any] = set()
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        if node.op.source:
            return None
        stack.append((node, True))
        stack.extend((operand.node, False) for operand in node.inputs)
    for node in order:
        made = builder.add(node.op, [copies[operand] for operand in node.inputs], node.slots, node.path)
        copies.update(zip(node.results, made.results, strict=True))
    return builder.freeze(copies[value])
