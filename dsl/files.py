"""Evaluating the declarations of a file: imports, tables, values, blocks, plans."""

from __future__ import annotations

from typing import Any

from ..compiler.graph.builder import Builder
from . import limits, syntax
from .budget import Budget, Exhausted
from .diagnostics import Label, PlanError, diagnostic
from .elaborate import Elaboration
from .loader import Loader
from .patterns import holds_tensor
from .scope import FileScope, Frame
from .source import Source
from .suggest import did_you_mean
from .values import POISON, BlockDef, BlockValue, Poisoned, Record, kind_of


class Files:
    """File scopes by file; a file's declarations are evaluated once."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.scopes: dict[int, FileScope] = {}
        self.budget = Budget()
        self.open: list[Source] = []

    def scope(self, file: syntax.File) -> FileScope:
        """The names of a file, with all that is wrong with its declarations in `errors`."""
        known = self.scopes.get(id(file))
        if known is not None:
            return known
        scope = FileScope(file.source, file)
        errors = scope.errors
        self.open.append(file.source)
        try:
            # Blocks first: plans, values and tables may name blocks that stand below them.
            for item in file.items:
                if isinstance(item, syntax.Block):
                    self._declare(scope, item.target, self._block(item, scope), errors)
            for item in file.items:
                try:
                    self._item(item, scope, errors)
                except PlanError as error:
                    errors.extend(error.diagnostics)
                    self._poison(item, scope)
                    if isinstance(error, Exhausted):
                        break
                except Poisoned:
                    self._poison(item, scope)
        finally:
            self.open.pop()
        self.scopes[id(file)] = scope
        return scope

    def _poison(self, item: syntax.Item, scope: FileScope) -> None:
        """What a failed declaration would have named is known, and silent."""
        targets: tuple[syntax.Target, ...] = ()
        if isinstance(item, syntax.Use):
            targets = item.names
        elif isinstance(item, (syntax.Let, syntax.Table, syntax.Plan)):
            targets = (item.target,)
        for target in targets:
            scope.names.setdefault(target.name, POISON)
            scope.where.setdefault(target.name, target.span)

    def _declare(self, scope: FileScope, target: syntax.Target, value: Any, errors: list[Any]) -> None:
        name = target.name
        if name in scope.where:
            first = Label(scope.where[name], "first here")
            errors.append(diagnostic("E102", target.span, name=name, secondary=[first]))
            return
        if name in ("mode", "shape", "tap"):
            errors.append(diagnostic("E109", target.span, name=name))
            return
        scope.names[name] = value
        scope.where[name] = target.span

    def _block(self, item: syntax.Block, scope: FileScope) -> BlockValue:
        inputs = tuple(param for param in item.params if holds_tensor(param.type))
        statics = tuple(param for param in item.params if not holds_tensor(param.type))
        return BlockValue(BlockDef(item, scope, inputs, statics))

    def _item(self, item: syntax.Item, scope: FileScope, errors: list[Any]) -> None:
        evaluator = Elaboration(scope.source.name, "eval", Builder(scope.source.name), self.budget)
        try:
            self._evaluate(item, scope, evaluator, errors)
        finally:
            # Of several operands each says for itself what is wrong, and then the whole is silent.
            errors.extend(evaluator.diagnostics)

    def _evaluate(
        self, item: syntax.Item, scope: FileScope, evaluator: Elaboration, errors: list[Any]
    ) -> None:
        frame = Frame(scope)
        if isinstance(item, syntax.Use):
            self._use(item, scope, errors)
        elif isinstance(item, syntax.Let):
            self._declare(scope, item.target, evaluator.evaluate(item.value, frame), errors)
        elif isinstance(item, syntax.Table):
            names = [column.name for column in item.columns]
            rows = [
                Record(zip(names, [evaluator.evaluate(cell, frame) for cell in row], strict=True))
                for row in item.rows
            ]
            self._declare(scope, item.target, rows, errors)
        elif isinstance(item, syntax.About):
            scope.about.update({name: evaluator.evaluate(value, frame) for name, value in item.fields})
        elif isinstance(item, syntax.Plan):
            self._plan(item, scope, evaluator, frame, errors)

    def _plan(
        self, item: syntax.Plan, scope: FileScope, evaluator: Elaboration, frame: Frame, errors: list[Any]
    ) -> None:
        name = item.target.name
        # The name is declared even if the plan is wrong, so that claims about it stay silent.
        scope.plans[name] = item
        value = evaluator.evaluate(item.value, frame)
        if not isinstance(value, BlockValue) or not isinstance(value.target, BlockDef):
            raise evaluator.error("E504", item.value, got=kind_of(value))
        if value.target.syntax.kind != "model":
            raise evaluator.error(
                "E504", item.value, got="a block", help=[f"declare it as `model {value.target.name}(...)`"]
            )
        bindings = dict(value.bindings) | evaluator.bindings(item.bindings, frame)
        self._declare(scope, item.target, BlockValue(value.target, value.arguments, name, bindings), errors)

    def _use(self, item: syntax.Use, scope: FileScope, errors: list[Any]) -> None:
        if len(self.scopes) + len(self.open) > limits.MAX_FILES:
            what = "the number of files that a file reaches by `use`"
            raise PlanError([diagnostic("E205", item.span, what=what, limit=limits.MAX_FILES)])
        files = self.loader.imported(item, scope.source)
        for file in files:
            if file.source.origin != "std" and any(source.path == file.source.path for source in self.open):
                circle = " -> ".join([source.name for source in self.open] + [file.source.name])
                raise PlanError([diagnostic("E107", item.span, circle=circle)])
        scopes: list[FileScope] = []
        for file in files:
            if any(source.path == file.source.path for source in self.open):
                continue
            scopes.append(self.scope(file))
            if scopes[-1].errors:
                raise PlanError(scopes[-1].errors)
        for target in item.names:
            holder = next((found for found in scopes if target.name in found.names), None)
            if holder is None:
                place = "std" if item.path is None else f"`{files[0].source.name}`"
                known = [name for found in scopes for name in found.names if name not in found.imported]
                help = did_you_mean(target.name, known)
                if not help and item.path is not None and known:
                    help = [f"it declares {', '.join(f'`{name}`' for name in known[:20])}"]
                errors.append(diagnostic("E106", target.span, name=target.name, place=place, help=help))
                scope.names.setdefault(target.name, POISON)
                continue
            scope.imported.add(target.name)
            self._declare(scope, target, holder.names[target.name], errors)
