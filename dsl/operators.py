"""Applying operators and layers of the registry: arguments checked, weights made, nodes added."""

from __future__ import annotations

from abc import ABC
from dataclasses import MISSING
from typing import Any, cast

from ..compiler.graph.graph import Value
from ..compiler.ops import Layer, Op, Operator, registry
from ..compiler.ops.core.rules import ShapeError
from ..compiler.sizes.dims import Dim, SizeTooLarge
from ..compiler.sizes.guards import Contradiction
from . import limits, syntax
from .arguments import Mismatch, coerce
from .patterns import Patterns
from .run import unbound
from .scope import Frame
from .shape_errors import shape_diagnostic
from .values import Bound, SharedValue, kind_of
from .weights import Weights


class Operators(Weights, Patterns, ABC):
    """The part of elaboration that applies operators."""

    def operator(self, name: str) -> type[Operator] | None:
        """The operator class of the registry, or None."""
        return registry().get(name)

    def operator_names(self) -> list[str]:
        """The names of the registry."""
        return list(registry())

    def apply(self, name: str, inputs: list[Any], node: syntax.Node, frame: Frame, **arguments: Any) -> Any:
        """Apply an operator of the registry to tensors."""
        operator = registry()[name]
        signature = operator.signature()
        if signature and signature[0].arity == "many":
            given: dict[str, Any] = {signature[0].name: inputs}
        else:
            given = {spec.name: value for spec, value in zip(signature, inputs, strict=False)}
        bound = {key: Bound(value) for key, value in arguments.items()}
        return self.apply_operator(operator, given, bound, node, frame, None, False, None)

    def apply_operator(
        self,
        operator: type[Operator],
        inputs: dict[str, Any],
        bound: dict[str, Bound],
        node: syntax.Node,
        frame: Frame,
        label: str | None,
        frozen: bool,
        shared: SharedValue | None,
    ) -> Any:
        """Apply an operator or layer to its inputs."""
        instance = self._instance(operator, bound, node, frame)
        slots: list[str] = []
        values: list[Value] = []
        for name, arity in operator.signature():
            given = inputs.get(name)
            if given is None:
                continue
            for value in cast("list[Any]", given) if arity == "many" else [given]:
                if not isinstance(value, Value):
                    raise self.error(
                        "E201",
                        node,
                        frame,
                        what=f"`{name}` of `{operator.name}`",
                        wanted="a tensor",
                        got=kind_of(value),
                    )
                slots.append(name)
                values.append(value)
        try:
            if isinstance(instance, Layer):
                return self._apply_layer(instance, bound, slots, values, node, frame, label, frozen, shared)
            op = cast("Op", instance)
            if op.in_mode(self.mode) is None or _leaves(op, values, slots):
                result: Any = values[0]
                path = None if label is None else frame.prefix + label
            else:
                path = None if label is None else frame.prefix + label
                result = self._emit(op, values, tuple(slots), path, node, frame, instance, bound)
        except ShapeError as error:
            raise self._shape_error(error, instance, slots, values, bound, node, frame, label) from None
        except Contradiction as error:
            raise self.contradiction(error, node, frame) from None
        except SizeTooLarge:
            raise self.error(
                "E204", node, frame, limit="2**63, or a formula of sizes past its limit"
            ) from None
        if path is not None:
            self.labelled.append((path, result))
        return result

    def _shape_error(
        self,
        error: ShapeError,
        instance: Operator,
        slots: list[str],
        values: list[Value],
        bound: dict[str, Bound],
        node: syntax.Node,
        frame: Frame,
        label: str | None,
    ) -> Exception:
        operands = instance.arrange(slots, values) if slots else {}
        return shape_diagnostic(self, error, instance, operands, bound, node, frame, label)

    def _emit(
        self,
        op: Op,
        values: list[Value],
        slots: tuple[str, ...],
        path: str | None,
        node: syntax.Node,
        frame: Frame,
        instance: Operator,
        bound: dict[str, Bound],
    ) -> Any:
        if len(self.builder.nodes) >= limits.MAX_NODES:
            raise self.error("E205", node, frame, what="the number of graph nodes", limit=limits.MAX_NODES)
        self.spend(limits.NODE + len(values), node)
        own = cast("Op", op.in_mode(self.mode))
        try:
            made = self.builder.add(own, values, slots, path, self.origin(node, frame, instance, bound))
        except ShapeError as error:
            if self.mode == "train" and _accepts(op.in_mode("eval"), values, slots):
                error.mode = self.mode
            raise
        for value in made.results:
            elements = 1
            for size in value.type.shape:
                if isinstance(size, int):
                    elements *= size
            if elements > limits.MAX_ELEMENTS:
                raise self.error(
                    "E205", node, frame, what="the number of elements of a tensor", limit=limits.MAX_ELEMENTS
                )
        results = made.results
        return results[0] if len(results) == 1 else results

    def _instance(
        self, operator: type[Operator], bound: dict[str, Bound], node: syntax.Node, frame: Frame
    ) -> Operator:
        arguments: dict[str, Any] = {}
        for argument in operator.arguments().values():
            given = bound.get(argument.name)
            if given is None:
                if argument.default is MISSING:
                    raise self.error(
                        "E206",
                        node,
                        frame,
                        name=f"`{operator.name}`",
                        wanted=f"an argument `{argument.name}`",
                        got="it is not given",
                    )
                continue
            try:
                arguments[argument.name] = coerce(argument.hint, given.value)
            except Mismatch as error:
                at = given.expr if given.expr is not None else node
                if isinstance(error.value, Dim) and error.wanted == "an int":
                    what = f"argument `{argument.name}` of `{operator.name}`"
                    raise self.error("E203", at, frame, what=what, sizes=unbound(error.value)) from None
                raise self.error(
                    "E201",
                    at,
                    frame,
                    what=f"`{argument.name}` of `{operator.name}`",
                    wanted=error.wanted,
                    got=error.got,
                    help=self._in_order(operator, given),
                ) from None
        eps = arguments.get("eps")
        if isinstance(eps, (int, float)) and eps >= 1:
            # The first argument of torch's norms is the number of channels: as an epsilon it would pass.
            given = bound["eps"]
            raise self.error(
                "E201",
                given.expr if given.expr is not None else node,
                frame,
                what=f"`eps` of `{operator.name}`",
                wanted="a number below 1",
                got=str(eps),
                help=["channels and features are those of the input: `batch_norm()`, `layer_norm()`"],
            )
        return operator(**arguments)

    def _in_order(self, operator: type[Operator], given: Bound) -> list[str]:
        # Torch's layers take the width of their input first: what follows is then one place off.
        layer = issubclass(operator, Layer) and isinstance(given.value, (int, float))
        if not layer or isinstance(given.value, bool):
            return []
        names = ", ".join(f"`{name}`" for name in operator.arguments())
        return [f"the width of the input is known from it; the parameters are {names}, in this order"]

    def _apply_layer(
        self,
        layer: Layer,
        bound: dict[str, Bound],
        slots: list[str],
        values: list[Value],
        node: syntax.Node,
        frame: Frame,
        label: str | None,
        frozen: bool,
        shared: SharedValue | None,
    ) -> Any:
        shapes = layer.arrange(slots, [value.type.shape for value in values])
        specs = layer.call(layer.weights, shapes)
        core = layer.call(layer.core, shapes)
        owner = shared or frame.shared
        if shared is not None:
            path = shared.path
        else:
            if label is None and specs:
                if layer.name in frame.unlabelled:
                    raise self.repeated(layer.name, frame.unlabelled[layer.name], node, frame)
                frame.unlabelled[layer.name] = node.span
            path = frame.prefix + (label or layer.name)
        frozen = frozen or frame.frozen or (shared is not None and shared.frozen)
        reads = [
            self.make_weight(
                f"{path}.{slot}",
                spec.shape,
                spec.dtype,
                spec.init,
                spec.kind,
                frozen,
                spec.persistent,
                owner,
                node,
                frame,
            )
            for slot, spec in specs.items()
        ]
        result = self._emit(core, [*values, *reads], (*slots, *specs), path, node, frame, layer, bound)
        if label is not None or shared is not None:
            self.labelled.append((path, result))
        return result


def _leaves(op: Op, values: list[Value], slots: list[str]) -> bool:
    """Whether the operator is right here and does nothing; raises `ShapeError`."""
    types = tuple([value.type for value in values])
    return bool(types) and op.unchanged(types) and not op.infer(types, tuple(slots))[1]


def _accepts(op: Op | None, values: list[Value], slots: tuple[str, ...]) -> bool:
    """Whether an operator takes these operands (None takes any)."""
    if op is None:
        return True
    try:
        op.infer(tuple([value.type for value in values]), slots)
    except ShapeError:
        return False
    return True
