"""Applying blocks: a frame of their own, inputs against patterns, parameters given or by default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

from ..compiler.graph.graph import Region
from . import limits, syntax
from .operators import Operators
from .scope import Frame
from .values import BlockDef, Bound, SharedValue


class Blocks(Operators, ABC):
    """The part of elaboration that applies blocks."""

    @abstractmethod
    def run_block(self, block: BlockDef, frame: Frame, node: syntax.Node) -> Any:
        """Run a block's body in a frame whose names are bound."""

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
        self.spend(limits.CALL, node)
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
                help=[] if param.type else [f"an input has its shape as type: `{param.name}: [B, C, H, W]`"],
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
