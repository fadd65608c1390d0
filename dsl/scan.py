"""`scan`: a step block run along an axis, unrolled where the axis is short and known, else a loop with a
body.
"""

from __future__ import annotations

from abc import ABC
from typing import Any, cast

from ..compiler.graph.builder import Builder
from ..compiler.graph.graph import Origin, Value, Weight
from ..compiler.ops.core.rules import ShapeError
from ..compiler.ops.scan import Scan
from ..compiler.types import TensorType
from . import syntax
from .calls import Calls, Given
from .scope import Frame
from .values import BlockDef, BlockValue, SharedValue, kind_of

# Up to so many positions the steps are written out one after another.
UNROLL = 16


class BodyBuilder(Builder):
    """Builds a scan's body: weights are entered in the graph around it and come in as operands."""

    def __init__(self, outer: Builder) -> None:
        super().__init__(f"{outer.name}.scan")
        self.outer = outer
        self.guards = outer.guards
        self.facts = outer.facts
        self.captured: dict[Value, Value] = {}

    def weight(self, weight: Weight, origin: Origin | None = None) -> Value:
        """Read a weight of the graph around; inside it is an input of the body."""
        return self.capture(self.outer.weight(weight, origin), weight.path, origin)

    def capture(self, value: Value, name: str, origin: Origin | None = None) -> Value:
        """The body's input for a value of the graph around."""
        known = self.captured.get(value)
        if known is None:
            known = self.captured[value] = self.input(name, value.type, origin)
        return known


class Scans(Calls, ABC):
    """The part of elaboration that runs `scan`."""

    def scan(
        self,
        positional: list[Given],
        named: dict[str, Given],
        piped: list[Any] | None,
        node: syntax.Call,
        frame: Frame,
        label: str | None,
        frozen: bool,
    ) -> Any:
        """Run a step along an axis: the outputs, stacked along it, and the last state.

        Plans write `(xs, *state) -> label: scan(step, axis=1, reverse=false)`.
        """
        values = [*(piped or []), *[given.value for given in positional]]
        steps = [value for value in values if isinstance(value, (BlockValue, SharedValue))]
        tensors = [value for value in values if isinstance(value, Value)]
        options = {name: given.value for name, given in named.items()}
        if len(steps) != 1 or not tensors or len(steps) + len(tensors) != len(values):
            odd = [value for value in values if not isinstance(value, (Value, BlockValue, SharedValue))]
            got = f"got {kind_of(odd[0])}" if odd else f"got {len(tensors)} tensors and {len(steps)} steps"
            raise self.error(
                "E206", node, frame, name="`scan`", wanted="a sequence, its states and one step", got=got
            )
        for name in options:
            if name not in ("axis", "reverse", "unroll"):
                raise self.error("E207", named[name].expr, frame, name="`scan`", argument=name)
        axis = self._scan_axis(options.get("axis"), tensors[0], node, frame)
        reverse = options.get("reverse", False)
        if not isinstance(reverse, bool):
            raise self.error(
                "E201", named["reverse"].expr, frame, what="`reverse`", wanted="a bool", got=kind_of(reverse)
            )
        unroll = options.get("unroll", UNROLL)
        if isinstance(unroll, bool) or not isinstance(unroll, int):
            raise self.error(
                "E201", named["unroll"].expr, frame, what="`unroll`", wanted="an int", got=kind_of(unroll)
            )
        shared = self._instance_of(steps[0], label, node, frame, frozen)
        length = tensors[0].shape[axis]
        if isinstance(length, int) and length <= unroll:
            result = self._unrolled(tensors, shared, axis, reverse, length, node, frame)
        else:
            result = self._loop(tensors, shared, axis, reverse, node, frame)
        if label is None and shared.weights:
            frame.unlabelled.setdefault(shared.block.name, node.span)
        return result

    def _scan_axis(self, axis: Any, sequence: Value, node: syntax.Call, frame: Frame) -> int:
        rank = len(sequence.shape)
        if isinstance(axis, bool) or not isinstance(axis, int):
            got = "it is not given" if axis is None else f"it is {kind_of(axis)}"
            raise self.error("E206", node, frame, name="`scan`", wanted="an int `axis`", got=got)
        if not -rank <= axis < rank:
            message = f"there is no axis {axis}: the sequence is {sequence.type}"
            raise self.error("E304", node, frame, where="`scan`:", message=message)
        return axis % rank

    def _instance_of(
        self, step: BlockValue | SharedValue, label: str | None, node: syntax.Call, frame: Frame, frozen: bool
    ) -> SharedValue:
        """The step as one shared instance: its weights exist once, under the scan's label."""
        if isinstance(step, SharedValue):
            return step
        path = frame.prefix + (label or step.name)
        if label is None and step.name in frame.unlabelled:
            raise self.repeated(step.name, frame.unlabelled[step.name], node, frame)
        return SharedValue(
            step, path, label or step.name, frozen or frame.frozen, frame.region, node.span, frame.shared
        )

    def _step(self, shared: SharedValue, values: list[Value], node: syntax.Call, frame: Frame) -> list[Value]:
        result = self.invoke(shared.block, [], {}, list(values), node, frame, None, False, shared)
        found = list(cast("tuple[Any, ...]", result)) if isinstance(result, (tuple, list)) else [result]
        wrong = next((value for value in found if not isinstance(value, Value)), None)
        if wrong is not None or len(found) != len(values):
            name = shared.block.name
            got = kind_of(wrong) if wrong is not None else f"{len(found)} values"
            wanted = f"a tuple of its output and {len(values) - 1} state{'s' if len(values) != 2 else ''}"
            at = shared.block.target.syntax.target if isinstance(shared.block.target, BlockDef) else node
            raise self.error(
                "E201", at, frame, what=f"what the step `{name}` returns", wanted=wanted, got=got
            )
        return cast("list[Value]", found)

    def _unrolled(
        self,
        tensors: list[Value],
        shared: SharedValue,
        axis: int,
        reverse: bool,
        length: int,
        node: syntax.Call,
        frame: Frame,
    ) -> Any:
        sequence, state = tensors[0], tensors[1:]
        outputs: dict[int, Value] = {}
        for at in range(length - 1, -1, -1) if reverse else range(length):
            piece = self.apply("select", [sequence], node, frame, axis=axis, index=at)
            before = [value.type for value in state]
            outputs[at], *state = self._step(shared, [piece, *state], node, frame)
            self._same_state(before, state, node, frame)
        stacked = self.apply("stack", [outputs[at] for at in range(length)], node, frame, axis=axis)
        return (stacked, *state) if state else stacked

    def _same_state(
        self, before: list[TensorType], after: list[Value], node: syntax.Call, frame: Frame
    ) -> None:
        for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
            if old != new.type:
                message = f"state {number} is {old} before the step and {new.type} after it"
                raise self.error("E301", node, frame, where="`scan`:", message=message)

    def _loop(
        self,
        tensors: list[Value],
        shared: SharedValue,
        axis: int,
        reverse: bool,
        node: syntax.Call,
        frame: Frame,
    ) -> Any:
        sequence, state = tensors[0], tensors[1:]
        outer = self.builder
        body = BodyBuilder(outer)
        origin = self.origin(node, frame)
        slice_type = TensorType((*sequence.shape[:axis], *sequence.shape[axis + 1 :]), sequence.type.dtype)
        inner = [body.input("slice", slice_type, origin)]
        inner += [body.input(f"state{number}", value.type, origin) for number, value in enumerate(state, 1)]
        # Weights that the instance already has come in as operands too.
        chain: list[SharedValue] = []
        owner: SharedValue | None = shared
        while owner is not None:
            chain.append(owner)
            owner = owner.outer
        kept = [dict(owner.weights) for owner in chain]
        for owner in chain:
            owner.weights.update(
                {path: body.capture(value, path, origin) for path, value in owner.weights.items()}
            )
        self.builder = body
        try:
            results = self._step(shared, inner, node, frame)
        finally:
            self.builder = outer
        # Outside of the body the instance's weights are those of the graph around it.
        back = {inside: outside for outside, inside in body.captured.items()}
        for owner, known in zip(chain, kept, strict=True):
            owner.weights = {
                path: known.get(path, back.get(value, value)) for path, value in owner.weights.items()
            }
        operands = [sequence, *state, *body.captured]
        op = Scan(axis=axis, states=len(state), reverse=reverse)
        graph = body.freeze(tuple(results))
        try:
            made = outer.add(op, operands, ("xs",) * len(operands), shared.path, origin, (graph,))
        except ShapeError as error:
            code = {"size": "E301", "rank": "E302", "dtype": "E303"}.get(error.kind, "E304")
            raise self.error(code, node, frame, where="`scan`:", message=error.message) from None
        return made.results if state else made.results[0]
