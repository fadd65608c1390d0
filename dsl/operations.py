"""Arithmetic, comparisons and logic of static values, of sizes that are not bound, and of tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ..compiler.graph.graph import Value
from ..compiler.sizes.dims import Dim, at_least, divisible, equal
from . import statics, syntax
from .access import Access
from .run import unbound
from .scope import Frame
from .statics import StaticError
from .values import Record, kind_of

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
HELD = frozenset({str, list, tuple, dict, Record})
"""Types of values that are gone through: it is paid for by their size."""


class Operations(Access, ABC):
    """The part of elaboration that computes with one and two values."""

    @abstractmethod
    def evaluate_all(self, nodes: tuple[syntax.Expr, ...], frame: Frame) -> list[Any]:
        """The values of expressions that do not depend on each other."""

    @abstractmethod
    def static(self, node: syntax.Node, frame: Frame, compute: Callable[[], Any]) -> Any:
        """What is computed of static values, with errors at a node."""

    @abstractmethod
    def static_error(self, error: StaticError, node: syntax.Node, frame: Frame) -> Exception:
        """The error of computing with static values, at a node."""

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
            if type(value) in HELD:
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
