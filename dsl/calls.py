"""Calls: telling inputs from static arguments, applying operators, layers and blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING
from typing import Any, NamedTuple, cast

from ..compiler.dims import Dim, SizeTooLarge, free_symbols
from ..compiler.graph import Region, Value
from ..compiler.ops import Layer, Op, Operator, registry
from ..compiler.ops.init import INITIALISERS
from ..compiler.ops.rules import ShapeError
from . import limits, statics, syntax
from .arguments import Mismatch, coerce
from .blame import shape_diagnostic
from .labels import problem
from .patterns import Patterns, allows_none
from .scope import Frame
from .suggest import did_you_mean
from .values import (
    BlockDef,
    BlockValue,
    Bound,
    SharedValue,
    is_tensorish,
    kind_of,
)
from .weights import Weights

# Static functions that serve lists of tensors as they are.
_STRUCTURAL = frozenset({"len", "enumerate", "zip", "reversed", "range"})


class Given(NamedTuple):
    """An argument of a call as evaluated."""

    value: Any
    expr: syntax.Expr


class Calls(Weights, Patterns, ABC):
    """The part of elaboration that evaluates calls."""

    @abstractmethod
    def run_block(self, block: BlockDef, frame: Frame, node: syntax.Node) -> Any:
        """Run a block's body in a frame whose names are bound."""

    @abstractmethod
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
        """Run a step along an axis."""

    @abstractmethod
    def tap(self, given: list[Any], node: syntax.Call, frame: Frame) -> Any:
        """The value of a labelled inner call."""

    def operator(self, name: str) -> type[Operator] | None:
        """The operator class of the registry, or None."""
        return registry().get(name)

    def operator_names(self) -> list[str]:
        """The names of the registry."""
        return list(registry())

    # ------------------------------------------------------------ dispatch

    def call(
        self,
        node: syntax.Call,
        frame: Frame,
        label: syntax.String | None,
        piped: list[Any] | None,
        frozen: bool,
    ) -> Any:
        """Evaluate a call; `piped` holds the inputs that come from `->`."""
        function = node.function
        positional: list[Given] = []
        named: dict[str, Given] = {}
        values = self.evaluate_all(tuple([argument.value for argument in node.arguments]), frame)
        for argument, value in zip(node.arguments, values, strict=True):
            if argument.name is not None:
                named[argument.name] = Given(value, argument.value)
            elif argument.star:
                for item in self.static(argument.value, frame, lambda value=value: statics.items(value)):
                    positional.append(Given(item, argument.value))
            else:
                positional.append(Given(value, argument.value))
        if isinstance(function, syntax.Name):
            name = function.id
            found = frame.names.get(name)
            if found is None:
                found = frame.file.names.get(name)
            if found is None:
                return self._call_builtin(name, positional, named, node, frame, label, piped, frozen)
        callee = self.evaluate(function, frame)
        if isinstance(callee, SharedValue):
            if label is not None:
                raise self.error("E404", label, frame, name=callee.label)
            return self.invoke(callee.block, positional, named, piped, node, frame, None, frozen, callee)
        if isinstance(callee, BlockDef):
            callee = BlockValue(callee)
        if not isinstance(callee, BlockValue):
            raise self.error("E210", function, frame, what=kind_of(callee))
        return self.invoke(callee, positional, named, piped, node, frame, label, frozen, None)

    def _call_builtin(
        self,
        name: str,
        positional: list[Given],
        named: dict[str, Given],
        node: syntax.Call,
        frame: Frame,
        label: syntax.String | None,
        piped: list[Any] | None,
        frozen: bool,
    ) -> Any:
        values = [*(piped or []), *[given.value for given in positional]]
        if name == "shape" or name == "rank":
            return self._shape(name, values, node, frame)
        if name == "tap":
            return self.tap(values, node, frame)
        if name == "scan":
            text = None if label is None else self._label(label, frame)
            return self.scan(positional, named, piped, node, frame, text, frozen)
        tensors = any(is_tensorish(value) for value in values)
        if name in statics.FUNCTIONS and (name in _STRUCTURAL or not tensors):
            function = statics.FUNCTIONS[name]
            keywords = {key: given.value for key, given in named.items()}
            try:
                return self.static(node, frame, lambda: function(*values, **keywords))
            except TypeError:
                raise self.error(
                    "E206", node, frame, name=f"`{name}`", wanted="other arguments", got="these do not fit"
                ) from None
        if name in INITIALISERS and not values and not (name in ("zeros", "ones") and named):
            return self._initialiser(name, named, node, frame)
        if name in INITIALISERS and name not in registry():
            return self._initialiser(name, named, node, frame, positional)
        if tensors and name in ("sum", "max", "min") and "axis" not in named:
            folded = self._fold_tensors(name, values, node, frame)
            if folded is not None:
                return folded
        if tensors and name in ("max", "min"):
            name = "a" + name
        operator = registry().get(name)
        if operator is None:
            raise self.undefined(cast("syntax.Name", node.function), frame)
        return self.invoke(BlockValue(operator), positional, named, piped, node, frame, label, frozen, None)

    def _fold_tensors(self, name: str, values: list[Any], node: syntax.Node, frame: Frame) -> Any:
        items = (
            cast("list[Any]", values[0])
            if len(values) == 1 and isinstance(values[0], (list, tuple))
            else values
        )
        if len(items) == 1 and items is values:
            return None
        if name == "sum" and items is values:
            return None
        result = items[0]
        for item in items[1:]:
            if name == "sum":
                result = self.binary("+", result, item, node, frame)
            else:
                result = self.apply("maximum" if name == "max" else "minimum", [result, item], node, frame)
        return result

    def _shape(self, name: str, values: list[Any], node: syntax.Call, frame: Frame) -> Any:
        if len(values) != 1 or not isinstance(values[0], Value):
            got = "got none" if not values else f"got {kind_of(values[0])}"
            raise self.error("E206", node, frame, name=f"`{name}`", wanted="one tensor", got=got)
        return tuple(values[0].shape) if name == "shape" else len(values[0].shape)

    def _initialiser(
        self,
        name: str,
        named: dict[str, Given],
        node: syntax.Call,
        frame: Frame,
        positional: list[Given] | None = None,
    ) -> Any:
        arguments = [given.value for given in positional or []]
        for value in [*arguments, *[given.value for given in named.values()]]:
            if isinstance(value, bool) or not isinstance(value, (int, float, str)):
                raise self.error(
                    "E201",
                    node,
                    frame,
                    what=f"an argument of `{name}`",
                    wanted="a number",
                    got=kind_of(value),
                )
        try:
            return INITIALISERS[name](*arguments, **{key: given.value for key, given in named.items()})
        except (TypeError, ValueError):
            raise self.error(
                "E206", node, frame, name=f"`{name}`", wanted="other arguments", got="these do not fit"
            ) from None

    # ------------------------------------------------------------ binding

    def invoke(
        self,
        callee: BlockValue,
        positional: list[Given],
        named: dict[str, Given],
        piped: list[Any] | None,
        node: syntax.Call,
        frame: Frame,
        label: syntax.String | None,
        frozen: bool,
        shared: SharedValue | None,
    ) -> Any:
        """Bind a call's arguments; the result is an application, or a block value where no input is given."""
        target = callee.target
        if isinstance(target, BlockDef):
            specs = [(p.name, _arity(p)) for p in target.inputs]
            statics_of = [p.name for p in target.statics]
            keywords_into = None
        else:
            specs = list(target.signature())
            statics_of = list(target.arguments())
            keywords_into = cast("str | None", getattr(target, "keywords_into", None))
        inputs, bound = self._bind(
            callee, specs, statics_of, keywords_into, positional, named, piped, node, frame
        )
        missing = [name for name, arity in specs if arity in ("one", "list") and name not in inputs]
        required = [name for name, arity in specs if arity in ("one", "list", "many")]
        if specs and specs[0][1] == "many" and not inputs:
            missing = [specs[0][0]]
        if required and not inputs:
            if label is not None:
                reason = "no input is given, so this is a block value, which has no weights yet"
                raise self.error("E403", label, frame, label=label.span.text, reason=reason)
            return BlockValue(target, bound, callee.plan, callee.bindings)
        if missing:
            raise self.error("E209", node, frame, name=f"`{callee.name}`", missing=missing[0])
        text = None if label is None else self._label(label, frame)
        if isinstance(target, BlockDef):
            return self.apply_block(target, inputs, bound, node, frame, text, frozen, shared)
        return self.apply_operator(target, inputs, bound, node, frame, text, frozen, shared)

    def _label(self, label: syntax.String, frame: Frame) -> str:
        text = self.text(label, frame)
        reason = problem(text)
        if reason is not None:
            raise self.error("E403", label, frame, label=text, reason=reason)
        return text

    def _bind(
        self,
        callee: BlockValue,
        specs: list[tuple[str, str]] | list[Any],
        statics_of: list[str],
        keywords_into: str | None,
        positional: list[Given],
        named: dict[str, Given],
        piped: list[Any] | None,
        node: syntax.Call,
        frame: Frame,
    ) -> tuple[dict[str, Any], dict[str, Bound]]:
        inputs: dict[str, Any] = {}
        bound = dict(callee.arguments)
        at = 0
        many: list[Any] = []

        def take(value: Any) -> bool:
            # Give one value to the next open input.
            nonlocal at
            while at < len(specs) and specs[at][0] in inputs and specs[at][1] != "many":
                at += 1
            if at == len(specs):
                return False
            name, arity = specs[at]
            if arity == "many":
                if isinstance(value, (list, tuple)):
                    many.extend(cast("list[Any]", value))
                else:
                    many.append(value)
                inputs[name] = many
            else:
                inputs[name] = value
                at += 1
            return True

        for value in piped or []:
            if not take(value):
                raise self._too_many(callee, specs, node, frame)
        rest = list(positional)
        stand_ins = cast("dict[str, str]", getattr(callee.target, "stand_ins", {}))
        while rest and at < len(specs):
            value = rest[0].value
            if inputs and specs[at][0] in stand_ins and isinstance(value, (int, float)):
                # A number in the place of a tensor: the operator has an argument for it.
                given = rest.pop(0)
                bound[stand_ins[specs[at][0]]] = Bound(given.value, given.expr, frame)
                at += 1
                continue
            fits = is_tensorish(value) or (
                value is None and bool(inputs) and specs[at][1] in ("optional",) and len(rest) > 0
            )
            fits = fits or (
                isinstance(value, list) and not value and specs[at][1] in ("list", "many") and not inputs
            )
            if not fits:
                break
            take(rest.pop(0).value)
        static_names = iter(statics_of)
        positional_names: set[str] = set()
        for given in rest:
            name = next(static_names, None)
            if name is None:
                if is_tensorish(given.value):
                    raise self._too_many(callee, specs, node, frame)
                wanted = f"{len(statics_of)} static argument{'s' if len(statics_of) != 1 else ''}"
                raise self.error(
                    "E206", node, frame, name=f"`{callee.name}`", wanted=wanted, got=f"{len(rest)} are given"
                )
            bound[name] = Bound(given.value, given.expr, frame)
            positional_names.add(name)
        input_names = {spec[0] for spec in specs}
        extra: list[tuple[str, Any]] = []
        for name, given in named.items():
            if name in input_names:
                if name in inputs:
                    raise self.error("E208", node, frame, name=f"`{callee.name}`", argument=name)
                inputs[name] = given.value
            elif name in statics_of:
                if name in positional_names:
                    raise self.error("E208", given.expr, frame, name=f"`{callee.name}`", argument=name)
                bound[name] = Bound(given.value, given.expr, frame)
            elif keywords_into is not None:
                extra.append((name, given.value))
            else:
                help = did_you_mean(name, [*input_names, *statics_of])
                if not help and statics_of:
                    help = [f"its parameters are {', '.join(f'`{n}`' for n in statics_of)}"]
                raise self.error("E207", given.expr, frame, name=f"`{callee.name}`", argument=name, help=help)
        if keywords_into is not None and extra:
            bound[keywords_into] = Bound(tuple(extra), node, frame)
        return inputs, bound

    def _too_many(self, callee: BlockValue, specs: list[Any], node: syntax.Node, frame: Frame) -> Exception:
        wanted = f"{len(specs)} input{'s' if len(specs) != 1 else ''}"
        return self.error(
            "E206", node, frame, name=f"`{callee.name}`", wanted=wanted, got="more tensors are given"
        )

    # ------------------------------------------------------------ operators

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
                return self._apply_layer(instance, slots, values, node, frame, label, frozen, shared)
            op = cast("Op", instance).in_mode(self.mode)
            if op is None:
                result: Any = values[0]
                path = None if label is None else frame.prefix + label
            else:
                path = None if label is None else frame.prefix + label
                result = self._emit(op, values, tuple(slots), path, node, frame, instance)
        except ShapeError as error:
            raise self._shape_error(error, instance, slots, values, bound, node, frame, label) from None
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
    ) -> Any:
        if len(self.builder.nodes) >= limits.MAX_NODES:
            raise self.error("E205", node, frame, what="the number of graph nodes", limit=limits.MAX_NODES)
        made = self.builder.add(op, values, slots, path, self.origin(node, frame, instance))
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
                    names = ", ".join(f"`{name}`" for name in sorted(free_symbols(error.value)))
                    what = f"argument `{argument.name}` of `{operator.name}`"
                    raise self.error("E203", at, frame, what=what, sizes=names) from None
                raise self.error(
                    "E201",
                    at,
                    frame,
                    what=f"`{argument.name}` of `{operator.name}`",
                    wanted=error.wanted,
                    got=error.got,
                ) from None
        return operator(**arguments)

    def _apply_layer(
        self,
        layer: Layer,
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
        op = core.in_mode(self.mode)
        result = self._emit(op, [*values, *reads], (*slots, *specs), path, node, frame, layer)
        if label is not None or shared is not None:
            self.labelled.append((path, result))
        return result

    # ------------------------------------------------------------ blocks

    def apply_block(
        self,
        block: BlockDef,
        inputs: dict[str, Any],
        bound: dict[str, Bound],
        node: syntax.Node,
        frame: Frame,
        label: str | None,
        frozen: bool,
        shared: SharedValue | None,
    ) -> Any:
        """Apply a block of a file: bind its parameters in a frame of its own and run its body."""
        if frame.depth >= limits.MAX_CALL_DEPTH:
            raise self.error(
                "E205", node, frame, what="the depth of block calls", limit=limits.MAX_CALL_DEPTH
            )
        inline = block.syntax.kind == "inline" and label is None and shared is None
        if shared is not None:
            prefix = shared.path + "."
        elif inline:
            prefix = frame.prefix
        else:
            prefix = f"{frame.prefix}{label or block.name}."
        region = frame.region if inline else Region(block.name, prefix[:-1], frame.region, node.span.line)
        inner = Frame(
            block.file,
            prefix,
            frame,
            node.span,
            block.name,
            region,
            frozen or frame.frozen or (shared is not None and shared.frozen),
            shared or frame.shared,
        )
        if inline:
            inner.unlabelled = frame.unlabelled
        elif label is None and shared is None:
            inner.repeats = frame.unlabelled.get(block.name)
        if region is not None and not inline:
            region.arguments = {name: given.value for name, given in bound.items()}
        made = len(self.weight_spans)
        first = len(self.labelled)
        self.bind_parameters(block, inputs, bound, inner, node)
        result = self.run_block(block, inner, node)
        if label is None and shared is None and not inline and len(self.weight_spans) > made:
            frame.unlabelled[block.name] = node.span
        if not inline:
            self.remember(prefix, first, result, label is not None or shared is not None)
        return result

    @abstractmethod
    def remember(self, prefix: str, first: int, result: Any, labelled: bool) -> None:
        """Keep which labelled calls a call ran, for `tap`."""

    def bind_parameters(
        self,
        block: BlockDef,
        inputs: dict[str, Any],
        bound: dict[str, Bound],
        inner: Frame,
        node: syntax.Node,
    ) -> None:
        """Bind inputs (against their patterns) and static parameters (given or default) of a block."""
        for param in block.statics:
            given = bound.get(param.name)
            if given is not None:
                inner.names[param.name] = given.value
                if given.expr is not None:
                    inner.where[param.name] = given.expr
        plain = [param for param in block.inputs if param.type is not None]
        statics_left = {param.name: param for param in block.statics if param.name not in inner.names}
        for param in plain:
            self._defaults_named_in(cast("syntax.Type", param.type), statics_left, inner, node)
            value = inputs.get(param.name)
            if param.name not in inputs and param.default is not None:
                value = self.evaluate(param.default, inner)
            inner.names[param.name] = value
            inner.where[param.name] = param
            self.check(
                cast("syntax.Type", param.type), value, f"`{param.name}` of `{block.name}`", node, inner
            )
        for param in block.statics:
            if param.name not in inner.names:
                self._default(param, block.name, inner, node)
        for param in block.statics:
            if param.type is not None:
                at = inner.where.get(param.name)
                span = at if at is not None and param.name in bound else node
                self.check(
                    param.type, inner.names[param.name], f"`{param.name}` of `{block.name}`", span, inner
                )

    def _default(self, param: syntax.Param, name: str, inner: Frame, node: syntax.Node) -> None:
        if param.default is None:
            raise self.error(
                "E206",
                node,
                inner.parent,
                name=f"`{name}`",
                wanted=f"an argument `{param.name}`",
                got="it is not given",
            )
        inner.names[param.name] = self.evaluate(param.default, inner)
        inner.where[param.name] = param.default

    def _defaults_named_in(
        self, type: syntax.Type, left: dict[str, syntax.Param], inner: Frame, node: syntax.Node
    ) -> None:
        # A size that is also a static parameter is that parameter's value, not a name to bind.
        if not left:
            return
        for part in walk(type):
            if isinstance(part, syntax.Name) and part.id in left:
                self._default(left.pop(part.id), inner.block, inner, node)


def walk(node: syntax.Node) -> list[syntax.Node]:
    """A node and all nodes below it."""
    found = [node]
    for part in found:
        found.extend(limits.children(part))
    return found


def _arity(param: syntax.Param) -> str:
    if param.default is not None or allows_none(param.type):
        return "optional"
    return "list" if isinstance(param.type, syntax.ListType) else "one"
