"""Calls: what a name calls, and which arguments are inputs and which are static."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

from ..compiler.graph.graph import Value
from ..compiler.ops import registry
from ..compiler.ops.core import init as initialisers
from ..compiler.ops.core.init import INITIALISERS
from ..compiler.sizes.dims import Dim
from . import limits, statics, syntax
from .arguments import Mismatch
from .blocks import Blocks
from .diagnostics import Label
from .foreign import of_argument
from .labels import problem
from .patterns import allows_none
from .scope import Frame
from .source import Span
from .suggest import did_you_mean
from .values import BlockDef, BlockValue, Bound, SharedValue, is_tensorish, kind_of

# Static functions that serve lists of tensors as they are.
_STRUCTURAL = frozenset({"len", "enumerate", "zip", "reversed", "range"})


# Functions whose value for a size is no whole number: of sizes that are not bound it is known at run time.
_FRACTIONAL = frozenset({"sqrt", "log", "log2", "exp", "sin", "cos", "float"})


class Given(NamedTuple):
    """An argument of a call as evaluated."""

    value: Any
    expr: syntax.Expr


class Calls(Blocks, ABC):
    """The part of elaboration that evaluates calls."""

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
            if isinstance(value, (str, list, tuple, dict)):
                self.weigh(value, argument, frame)
        for argument, value in zip(node.arguments, values, strict=True):
            if argument.name is not None:
                named[argument.name] = Given(value, argument.value)
            elif argument.star:
                items = self.static(argument.value, frame, lambda value=value: statics.items(value))
                spread = cast("list[Any]", items)
                self.spend(limits.SPREAD * len(spread), argument)
                for item in spread:
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
        if name in _FRACTIONAL and any(isinstance(value, Dim) for value in values):
            values = [self.lifted(value, node, frame) for value in values]
            if name == "float":
                return values[0]
            positional = [Given(value, node) for value in values]
            piped = None
        tensors = any(is_tensorish(value) for value in values)
        static = name in _STRUCTURAL or not tensors or (name not in registry() and name not in ("max", "min"))
        if name in statics.FUNCTIONS and static:
            function = statics.FUNCTIONS[name]
            keywords = {key: given.value for key, given in named.items()}
            if name == "ceil_div" and len(values) == 2 and isinstance(values[1], Dim):
                divisor = values[1]
                self.static(
                    node, frame, lambda: self.need_divisor(divisor, "the divisor of `ceil_div`", node, frame)
                )
            try:
                return self.static(node, frame, lambda: statics.bounded(function(*values, **keywords)))
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
        known = initialisers.parameters(name)
        given = dict(zip(known, positional or [], strict=False))
        for key in named:
            if key not in known:
                help = did_you_mean(key, known) or [
                    f"it takes {', '.join(known)}" if known else "it takes none"
                ]
                raise self.error("E207", node, frame, name=f"`{name}`", argument=key, help=help)
            if key in given:
                raise self.error("E208", node, frame, name=f"`{name}`", argument=key)
        if len(positional or []) > len(known):
            wanted, got = f"{len(known)} arguments", f"{len(positional or [])} are given"
            raise self.error("E206", node, frame, name=f"`{name}`", wanted=wanted, got=got)
        given |= named
        try:
            return initialisers.make(name, {key: one.value for key, one in given.items()})
        except initialisers.Missing as error:
            wanted = f"`{error}`"
            raise self.error(
                "E206", node, frame, name=f"`{name}`", wanted=wanted, got="is given none"
            ) from None
        except initialisers.BadArgument as error:
            raise self.error(
                "E201",
                given[error.argument].expr if error.argument in given else node,
                frame,
                what=f"`{error.argument}` of `{name}`",
                wanted=error.wanted,
                got=Mismatch(error.wanted, error.value).got,
                help=[f"`{name}` is that of torch.nn.init"],
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
                got = f"{len(rest)} are given"
                help = [f"they are {', '.join(f'`{n}`' for n in statics_of)}"] if statics_of else []
                if len(statics_of) == 1 and all(isinstance(one.value, (int, Dim)) for one in rest):
                    listed = ", ".join(one.expr.span.text for one in rest[:8])
                    help = [f"if a list is meant, write it in brackets: `[{listed}]`"]
                raise self.error(
                    "E206", node, frame, name=f"`{callee.name}`", wanted=wanted, got=got, help=help
                )
            before = callee.arguments.get(name)
            if before is not None:
                raise self._given_before(callee, name, before, given, frame)
            bound[name] = Bound(given.value, given.expr, frame)
            positional_names.add(name)
        input_names = {spec[0] for spec in specs}
        extra: list[tuple[str, Any]] = []
        for name, given in named.items():
            if name in input_names and not (keywords_into is not None and name in inputs):
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
                help = of_argument(name, [*(n for n, _ in specs), *statics_of])
                where = keyword_span(node, name) or given.expr
                raise self.error("E207", where, frame, name=f"`{callee.name}`", argument=name, help=help)
        if keywords_into is not None and extra:
            bound[keywords_into] = Bound(tuple(extra), node, frame)
        return inputs, bound

    def _given_before(
        self, callee: BlockValue, name: str, before: Bound, given: Given, frame: Frame
    ) -> Exception:
        """The error of an argument by position that a block value has from the call that made it."""
        text = " ".join(given.expr.span.text.split())
        labels = [] if before.expr is None else [Label(before.expr.span, f"`{name}` is given here")]
        return self.error(
            "E217",
            given.expr,
            frame,
            name=f"`{callee.name}`",
            argument=name,
            secondary=labels,
            help=[f"give another by name: `{name}={text}`"],
        )

    def _too_many(self, callee: BlockValue, specs: list[Any], node: syntax.Node, frame: Frame) -> Exception:
        wanted = f"{len(specs)} input{'s' if len(specs) != 1 else ''}"
        return self.error(
            "E206", node, frame, name=f"`{callee.name}`", wanted=wanted, got="more tensors are given"
        )


def keyword_span(call: syntax.Call, name: str) -> Span | None:
    """Where a call writes the name of an argument, `name=value`."""
    for argument in call.arguments:
        if argument.name == name:
            span = argument.span
            return Span(span.source, span.start, span.start + len(name))
    return None


def _arity(param: syntax.Param) -> str:
    if param.default is not None or allows_none(param.type):
        return "optional"
    return "list" if isinstance(param.type, syntax.ListType) else "one"
