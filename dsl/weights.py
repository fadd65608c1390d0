"""Weights of a run: paths are unique, shared blocks read theirs again, sizes are known."""

from __future__ import annotations

from abc import ABC
from math import prod
from typing import Any

from ..compiler.graph.graph import Value, Weight
from ..compiler.ops.core.init import Init, misfit
from ..compiler.sizes.dims import Dim
from ..compiler.types import TensorType
from . import limits, syntax
from .diagnostics import Label
from .expressions import Expressions
from .run import unbound
from .scope import Frame
from .source import Span
from .suggest import did_you_mean
from .values import SharedValue


class Weights(Expressions, ABC):
    """The part of elaboration that owns the weight table."""

    def make_weight(
        self,
        path: str,
        shape: tuple[Any, ...],
        dtype: str,
        init: Any,
        kind: str,
        frozen: bool,
        persistent: bool,
        owner: SharedValue | None,
        node: syntax.Node,
        frame: Frame,
    ) -> Value:
        """A weight of that path: new, or the shared block's own where it is read again."""
        type = TensorType(shape, dtype)
        if owner is not None:
            known = owner.weights.get(path)
            if known is not None:
                if known.type != type:
                    raise self.error(
                        "E405",
                        node,
                        frame,
                        name=owner.label,
                        weight=path,
                        wanted=str(type),
                        got=str(known.type),
                    )
                return known
        free = [size for size in shape if isinstance(size, Dim)]
        if free:
            help = ["bind it where the plan is named: `plan NAME = model() at (H=224, W=224)`"]
            raise self.error("E407", node, frame, path=path, sizes=unbound(*free), help=help)
        if prod(shape) > limits.MAX_ELEMENTS:
            what = f"the number of elements of the weight `{path}`"
            raise self.error("E205", node, frame, what=what, limit=limits.MAX_ELEMENTS)
        self.spend(limits.WEIGHT, node)
        reason = misfit(init, shape, dtype) if isinstance(init, Init) else None
        if reason is not None:
            raise self.error("E409", node, frame, init=init.title, path=path, reason=reason)
        before = self.weight_spans.get(path)
        if before is not None:
            raise self._clash(path, before, node, frame)
        self._check_prefixes(path, node, frame)
        self.weight_spans[path] = node.span
        weight = Weight(path, type, init, kind, kind == "param" and not frozen, persistent)
        value = self.builder.weight(weight, self.origin(node, frame))
        outer = owner
        while outer is not None:
            outer.weights[path] = value
            outer = outer.outer
        return value

    def _check_prefixes(self, path: str, node: syntax.Node, frame: Frame) -> None:
        # A tensor and a module cannot share a name: `fc` beside `fc.weight`.
        if path in self.weight_prefixes:
            raise self._clash(path, self.weight_prefixes[path], node, frame)
        prefix = path
        while "." in prefix:
            prefix = prefix[: prefix.rindex(".")]
            if prefix in self.weight_spans:
                raise self._clash(prefix, self.weight_spans[prefix], node, frame)
            if prefix in self.weight_prefixes:
                break
            self.weight_prefixes[prefix] = node.span

    def _clash(self, path: str, before: Span, node: syntax.Node, frame: Frame) -> Exception:
        outer: Frame | None = frame
        while outer is not None:
            if outer.repeats is not None and outer.call is not None:
                return self.repeated(outer.block, outer.repeats, outer.call, outer.parent)
            outer = outer.parent
        return self.error("E401", node, frame, path=path, secondary=[Label(before, "first here")])

    def repeated(self, name: str, first: Span, node: syntax.Node | Span, frame: Frame | None) -> Exception:
        """The error of a second unlabelled call that owns weights."""
        return self.error(
            "E402",
            node,
            frame,
            name=name,
            secondary=[Label(first, f"its weights are under `{name}`")],
            help=[f"label the calls: `first: {name}(...)`, `second: {name}(...)`"],
        )

    def shared_weight(self, shared: SharedValue, node: syntax.Attribute, frame: Frame) -> Any:
        """Read a weight of a shared block."""
        value = shared.weights.get(f"{shared.path}.{node.name}")
        if value is None:
            owned = [path.removeprefix(shared.path + ".") for path in shared.weights]
            help = did_you_mean(node.name, owned)
            if not shared.weights:
                help = [
                    f"use `{shared.label}(...)` before its weights are read: the first use fixes their shapes"
                ]
            raise self.error("E406", node, frame, name=shared.label, weight=node.name, help=help)
        return value
