"""Rows summed by operator, scope or block, with repeats folded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from ..errors import ArgumentError
from .rows import Row
from .sums import Sums, sum_rows

By = Literal["op", "scope", "block"]


@dataclass(frozen=True)
class Group:
    """Rows under one label. A folded group stands for `repeat` equal neighbours; its sums are those of all of
    them.

    `op` is the operator's name where the group is operators of one kind, `block` the block's where it is
    calls of one.
    """

    label: str
    sums: Sums
    repeat: int = 1
    op: str | None = None
    block: str | None = None
    children: tuple[Group, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "label": self.label,
            "repeat": self.repeat,
            "op": self.op,
            "block": self.block,
            **self.sums.to_dict(),
            "children": [child.to_dict() for child in self.children],
        }


def group_rows(
    rows: Sequence[Row], by: By = "scope", depth: int | None = None, fold: bool = True
) -> tuple[Group, ...]:
    """The rows summed.

    "op": one group for each operator, those with the most MACs first where the counts are numbers. "scope":
    the tree of label paths; an operator without a label stands in the scope of its block. "block": the tree
    of block calls by name, the calls of one block in one place taken together. `depth` limits the levels of a
    tree; neighbours in the scope tree that cost the same are folded into one.
    """
    if depth is not None and depth < 1:
        raise ArgumentError(f"depth is {depth}, and must be at least 1")
    if by == "op":
        return _by_op(rows)
    tree = _Branch("")
    for row in rows:
        place = tree
        for name, block in _scopes(row) if by == "scope" else _blocks(row):
            place = place.child(name, block)
        place.rows.append(row)
    return tuple(_groups(tree, "", depth, fold and by == "scope", joined=by == "scope"))


def _by_op(rows: Sequence[Row]) -> tuple[Group, ...]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.op, []).append(row)
    groups = [Group(op, sum_rows(those), op=op) for op, those in found.items()]

    def weight(group: Group) -> tuple[int, int]:
        macs, flops = group.sums.macs, group.sums.flops
        return (-macs, -flops) if isinstance(macs, int) and isinstance(flops, int) else (0, 0)

    if all(isinstance(group.sums.flops, int) for group in groups):
        groups.sort(key=weight)
    return tuple(groups)


@dataclass
class _Branch:
    """A level of a tree while it grows: the operators that stand here, and the levels below by name."""

    name: str
    block: str | None = None
    rows: list[Row] = field(default_factory=list[Row])
    below: dict[str, _Branch] = field(default_factory=dict[str, "_Branch"])

    def child(self, name: str, block: str | None) -> _Branch:
        found = self.below.get(name)
        if found is None:
            found = self.below[name] = _Branch(name, block)
        return found

    def all_rows(self) -> list[Row]:
        return [*self.rows, *(row for branch in self.below.values() for row in branch.all_rows())]


def _scopes(row: Row) -> Iterable[tuple[str, str | None]]:
    """The parts of the label path, each with the block that was called there.

    Labels that hold dots make a level for each part, so that `layer1.0` and `layer1.1` are neighbours. An
    operator without a label gets a name that no label has.
    """
    called = {region.path: region.block for region in row.region.chain() if region.path} if row.region else {}
    path = row.path if row.path is not None else row.scope
    parts = path.split(".") if path else []
    sofar = ""
    for part in parts:
        sofar = f"{sofar}.{part}" if sofar else part
        yield part, called.get(sofar)
    if row.path is None:
        yield f"{row.op} #{row.node.id}", None


def _blocks(row: Row) -> Iterable[tuple[str, str | None]]:
    for block in row.blocks:
        yield block, block
    yield f"{row.op} #", None


def _groups(tree: _Branch, prefix: str, depth: int | None, fold: bool, joined: bool) -> list[Group]:
    """The levels below `tree`; `joined` gives each its whole path as the label."""
    found: list[tuple[Any, Group]] = []
    branches = list(tree.below.values())
    if prefix and tree.rows:
        # A labelled operator whose label is also a prefix of others.
        branches.insert(0, _Branch(f"{tree.rows[0].op} #", rows=tree.rows))
    for branch in branches:
        rows = branch.all_rows()
        name, _, unlabelled = branch.name.partition(" #")
        label = (
            f"{prefix}.{name}"
            if prefix and joined and not (unlabelled or branch.name.endswith("#"))
            else name
        )
        deeper = depth is None or depth > 1
        children = (
            _groups(branch, label, None if depth is None else depth - 1, fold, joined)
            if deeper and branch.below
            else []
        )
        ops = {row.op for row in rows}
        op = ops.pop() if len(ops) == 1 and not branch.below else None
        group = Group(label, sum_rows(rows), 1, op, branch.block, tuple(children))
        # A scope and an operator without a label are never taken together.
        found.append(((label == name, _structure(branch)) if fold else None, group))
    if not fold:
        return [group for _, group in found]
    return [_merge([group for _, group in run]) for _, run in groupby(found, key=lambda pair: pair[0])]


def _structure(branch: _Branch) -> Any:
    """What makes two scopes cost the same: operators, results and counts in the same places under the same
    labels.
    """
    return (
        tuple([_signature(row) for row in branch.rows]),
        branch.block,
        tuple([(name.partition(" #")[0], _structure(below)) for name, below in branch.below.items()]),
    )


def _signature(row: Row) -> Any:
    return (
        row.op,
        row.types,
        row.trainable,
        row.frozen,
        row.buffers,
        row.cost,
        row.activations,
        row.bytes_read,
        row.bytes_written,
        row.times,
    )


def _merge(run: list[Group]) -> Group:
    """Equal neighbours as one group; its children are those of one of them, with the sums of all."""
    first = run[0]
    if len(run) == 1:
        return first
    label = first.label if first.label == run[-1].label else f"{first.label} .. {run[-1].label}"
    children = tuple(_times(child, len(run), first.label) for child in first.children)
    return Group(label, _multiply(first.sums, len(run)), len(run), first.op, first.block, children)


def _multiply(sums: Sums, n: int) -> Sums:
    return Sums(
        sums.operators * n,
        sums.trainable * n,
        sums.frozen * n,
        sums.buffers * n,
        sums.cost.scaled(n),
        sums.activations * n,
        sums.bytes_read * n,
        sums.bytes_written * n,
    )


def _times(group: Group, n: int, prefix: str) -> Group:
    """A child of a folded group: its label relative to what repeats."""
    label = group.label.replace(f"{prefix}.", "*.") if group.label.startswith(f"{prefix}.") else group.label
    return Group(
        label,
        _multiply(group.sums, n),
        group.repeat,
        group.op,
        group.block,
        tuple(_times(child, n, prefix) for child in group.children),
    )
