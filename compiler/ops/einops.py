"""Named axes: rearrange, reduce, repeat, as in einops (Rogozhnikov 2022), lowered to plain operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

from ..dtypes import I64, DType, is_complex, is_float
from ..sizes.dims import Size, divisible, equal, prod, render
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.einops_pattern import ELLIPSIS, Axis, Names, Pattern, parse, wrong
from .core.indexing import joined, parted
from .core.rows import over_count, product, wide
from .core.rules import ShapeError, need_at_least, need_divisible, need_equal

Reduction = Literal["mean", "sum", "max", "min", "prod"]


class Solution(NamedTuple):
    """A pattern applied to an input: the names in each group of both sides, and the size of each name."""

    left: Names
    right: Names
    sizes: dict[str, Size]

    def result(self) -> Shape:
        """The sizes of the result."""
        return tuple(prod(self.sizes[name] for name in group) for group in self.right)


class PatternOp(Op):
    """What the three share: a pattern, and sizes of its axes given as arguments of their names."""

    pattern: str
    sizes: tuple[tuple[str, Size], ...] = ()
    # Arguments that are no fields are sizes of axes: `rearrange("b (h p) -> b h p", p=7)`.
    keywords_into: ClassVar[str] = "sizes"
    role = "move"

    def parsed(self) -> Pattern:
        """The pattern, with what this operator refuses refused."""
        pattern = parse(self.pattern)
        self.check(pattern)
        known = {axis.name for side in pattern for axis in side.axes()} - {ELLIPSIS}
        for name, size in self.sizes:
            if name not in known:
                names = ", ".join(sorted(name for name in known if "@" not in name))
                message = f"the pattern has no axis `{name}`"
                raise ShapeError(
                    message, "value", argument="sizes", help=f"its axes are {names}" if names else None
                )
            need_at_least(size, 0, f"the size of `{name}`")
        return pattern

    def check(self, pattern: Pattern) -> None:
        """Raise `ShapeError` for a pattern that is not this operator's."""

    def solve(self, x: Shape) -> Solution:
        """The size of every axis; `ShapeError` where they do not fit."""
        pattern = self.parsed()
        extra = pattern.extra(len(x))
        spans = {axis.name: axis.span for side in (pattern.right, pattern.left) for axis in side.axes()}
        left, right = pattern.left.expanded(extra), pattern.right.expanded(extra)
        given = self.given(pattern)
        sizes = dict(given)
        for axis, (group, size) in enumerate(zip(left, x, strict=True)):
            where = (("x", axis),)
            unknown = [name for name in group if name not in given]
            known = prod(given[name] for name in group if name in given)
            if len(unknown) > 1:
                listed = " and ".join(f"`{name}`" for name in unknown)
                message = f"the sizes of {listed} do not follow from axis {axis}"
                raise ShapeError(
                    message, "value", where, "pattern", f"give one: {unknown[0]}=...", spans[unknown[0]]
                )
            at = pattern.left.span
            if group and group[0] in spans and group[-1] in spans:
                at = spans[group[0]][0], spans[group[-1]][1]
            if not unknown:
                if equal(size, known) is False:
                    message = f"axis {axis} has size {render(size)}, and the pattern says {render(known)}"
                    raise ShapeError(message, "size", where, "pattern", None, at)
                need_equal(size, known, f"axis {axis} and what the pattern says", ("x", axis))
                continue
            need_at_least(known, 1, f"the part of axis {axis} that is given", ("x", axis))
            if divisible(size, known) is False:
                message = f"axis {axis} has size {render(size)}, which {render(known)} does not divide"
                raise ShapeError(message, "size", where, "pattern", None, at)
            need_divisible(size, known, f"axis {axis}", ("x", axis), argument="pattern")
            sizes[unknown[0]] = size // known
        for group in right:
            for name in group:
                if name not in sizes:
                    message = f"the size of `{name}` is not known"
                    raise ShapeError(message, "value", (), "sizes", f"give it: {name}=...", spans[name])
        return Solution(left, right, sizes)

    def given(self, pattern: Pattern) -> dict[str, Size]:
        """Sizes that the call or the pattern states."""
        stated = {axis.name: axis.size for side in pattern for axis in side.axes() if axis.size is not None}
        return stated | dict(self.sizes)

    def shape(self, x: Shape) -> Shape:
        return self.solve(x).result()

    def split(self, t: Lowering, x: Any) -> tuple[Any, Names, Names, dict[str, Any]]:
        """The input with one axis for each name on the left; the names of both sides; the sizes that are
        stated.
        """
        pattern = parse(self.pattern)
        shape = t.shape(x)
        extra = pattern.extra(len(shape))
        left, right = pattern.left.expanded(extra), pattern.right.expanded(extra)
        given = {name: t.size(size) for name, size in self.given(pattern).items()}
        if not all(left):
            # An axis of size 1 goes; the other sizes are named, so that it must have been 1.
            sizes: list[Any] = []
            for group, size in zip(left, shape, strict=True):
                rest = _product(given[name] for name in group if name in given)
                sizes += [given[name] if name in given else size // rest for name in group]
            return x.reshape(sizes), left, right, given
        for axis in reversed(range(len(left))):
            group = left[axis]
            if len(group) > 1:
                x = x.unflatten(axis, tuple(given.get(name, -1) for name in group))
        return x, left, right, given

    def reader(
        self, t: Elements, x: Any, found: Solution
    ) -> Callable[[Sequence[Any], Mapping[str, Any]], Any]:
        """What reads the input at an index of the result, and a position on each axis that it lacks."""
        left, right = ([[n for n in group if found.sizes[n] != 1] for group in side] for side in found[:2])
        after = {pair for group in left for pair in pairwise(group)}
        # Axes that lie side by side in one group of either side are told apart by neither.
        runs: list[list[list[str]]] = []
        for group in right:
            runs.append([])
            for name in group:
                if runs[-1] and (runs[-1][-1][-1], name) in after:
                    runs[-1][-1].append(name)
                else:
                    runs[-1].append([name])
        sizes = {run[0]: product([t.size(found.sizes[n]) for n in run]) for group in runs for run in group}

        def read(index: Sequence[Any], lacking: Mapping[str, Any]) -> Any:
            at = dict(lacking)
            for group, position in zip(runs, index, strict=True):
                parts = parted(t, position, [sizes[run[0]] for run in group])
                at.update(zip((run[0] for run in group), parts, strict=True))
            firsts = [[name for name in group if name in at] for group in left]
            extents = [
                [sizes[n] if n in sizes else t.size(found.sizes[n]) for n in group] for group in firsts
            ]
            return x[
                tuple(joined([at[n] for n in group], e) for group, e in zip(firsts, extents, strict=True))
            ]

        return read

    def moves(self, t: Elements, x: Any) -> Any:
        """The result, where nothing is computed."""
        read = self.reader(t, x, self.solve(t.node.inputs[0].shape))
        return t.compute(t.shape(), lambda *i: read(i, {}))

    def apart(self, x: Any) -> tuple[Any, Solution]:
        """For numpy: the input with one axis for each name on the left."""
        found = self.solve(x.shape)
        return x.reshape([found.sizes[name] for name in flat(found.left)]), found


class Rearrange(PatternOp, name="rearrange"):
    """Split, order and merge axes by a pattern: [*S] -> [*S'], `rearrange("b c (h p) -> b h (p c)", p=2)`.

    Every axis is on both sides. Semantics of einops.rearrange.
    """

    samples = (
        case({"pattern": "b c h w -> b (h w) c"}, (2, 3, 4, 5)),
        case({"pattern": "b (h p) (w q) d -> (b h w) (p q) d", "sizes": (("p", 2), ("q", 3))}, (2, 4, 6, 5)),
        case({"pattern": "... (h d) -> ... h d", "sizes": (("h", 2),)}, (2, 3, 6)),
        case({"pattern": "b 1 n -> n () b"}, (2, 1, 3)),
        case({"pattern": "b ... c -> c (b ...)"}, (2, 3, 4, 5)),
    )

    def check(self, pattern: Pattern) -> None:
        for side, other in ((pattern.left, pattern.right), (pattern.right, pattern.left)):
            for axis in side.axes():
                if axis.size is not None:
                    raise wrong(
                        "rearrange has no axes without a name", axis.span, "write a name and give its size"
                    )
                if not other.has(axis.name):
                    raise wrong(
                        f"`{axis.name}` is on one side only",
                        axis.span,
                        "`reduce` drops axes, `repeat` adds them",
                    )

    def dtype(self, x: DType) -> DType:
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        x, left, right, _ = self.split(t, x)
        return merge(order(x, flat(left), flat(right)), right)

    def te(self, t: Elements, x: Any) -> Any:
        return self.moves(t, x)

    def numpy(self, np: Any, x: Any) -> Any:
        parts, found = self.apart(x)
        names = flat(found.left)
        return parts.transpose([names.index(name) for name in flat(found.right)]).reshape(found.result())


class Reduce(PatternOp, name="reduce"):
    """Reduce the axes that the right side lacks: [*S] -> [*S'], `reduce("b c (h 2) (w 2) -> b c h w",
    "max")`.

    Reducing n elements counts n operations, and a mean its division. Semantics of einops.reduce.
    """

    pattern: str
    reduction: Reduction
    role = "reduction"
    samples = (
        case({"pattern": "b c h w -> b c", "reduction": "mean"}, (2, 3, 4, 5)),
        case({"pattern": "b c (h 2) (w 3) -> b c h w", "reduction": "max"}, (2, 3, 4, 6)),
        case({"pattern": "b (n g) -> g b", "reduction": "sum", "sizes": (("g", 2),)}, (2, 6)),
        case({"pattern": "b c ... -> c b", "reduction": "min"}, (2, 3, 2, 2)),
        case({"pattern": "b h w -> b () (w)", "reduction": "prod"}, (2, 3, 4)),
    )

    def check(self, pattern: Pattern) -> None:
        for axis in pattern.right.axes():
            if not pattern.left.has(axis.name):
                raise wrong(f"`{_written(axis)}` is on the right alone", axis.span, "`repeat` adds axes")

    def shape(self, x: Shape) -> Shape:
        solution = self.solve(x)
        if self.reduction in ("max", "min"):
            for name in self.dropped(solution):
                need_at_least(solution.sizes[name], 1, f"the reduced axis `{name}`")
        return solution.result()

    def dropped(self, solution: Solution) -> list[str]:
        """The names that are reduced."""
        return [name for name in flat(solution.left) if name not in flat(solution.right)]

    def reduces(self) -> bool:
        """Whether any axis goes (`...` counts as one)."""
        pattern = self.parsed()
        return any(not pattern.right.has(axis.name) for axis in pattern.left.axes())

    def dtype(self, x: DType) -> DType:
        if not self.reduces():
            return x
        exact = not (is_float(x) or is_complex(x))
        if self.reduction == "mean" and exact:
            raise ShapeError(f"a mean needs a float or complex tensor, and got {x}", "dtype", (("x", None),))
        if self.reduction in ("max", "min") and is_complex(x):
            raise ShapeError(f"{x} has no order, so no {self.reduction}", "dtype", (("x", None),))
        return I64 if exact and self.reduction in ("sum", "prod") else x

    def cost(self, out: Shape, x: Shape) -> Cost:
        if not self.dropped(self.solve(x)):
            return NOTHING
        if self.reduction in ("max", "min"):
            return Cost(compare=prod(x))
        if self.reduction == "prod":
            return Cost(multiply=prod(x))
        return Cost(add=prod(x), divide=prod(out) if self.reduction == "mean" else 0)

    def torch(self, t: Lowering, x: Any) -> Any:
        x, left, right, _ = self.split(t, x)
        names = flat(left)
        dropped = tuple(axis for axis, name in enumerate(names) if name not in flat(right))
        if dropped and self.reduction == "prod":
            for axis in reversed(dropped):
                x = x.prod(axis)
        elif dropped:
            method = {"mean": "mean", "sum": "sum", "max": "amax", "min": "amin"}[self.reduction]
            x = getattr(x, method)(dropped)
        return merge(order(x, [name for name in names if name in flat(right)], flat(right)), right)

    def te(self, t: Elements, x: Any) -> Any:
        found = self.solve(t.node.inputs[0].shape)
        read = self.reader(t, x, found)
        names = [name for name in self.dropped(found) if found.sizes[name] != 1]
        if not names:
            return t.compute(t.shape(), lambda *i: t.cast(read(i, {}), t.dtype()))
        extents = [t.size(found.sizes[name]) for name in names]
        rank = len(found.right)
        dtype = wide(t.dtype())
        combine = "sum" if self.reduction == "mean" else self.reduction
        if dtype == "bool":
            combine = {"max": "any", "min": "all"}[combine]
        total = t.reduce(
            combine,
            t.shape(),
            extents,
            lambda *i: t.cast(read(i[:rank], dict(zip(names, i[rank:], strict=True))), dtype),
            dtype,
        )
        if self.reduction == "mean":
            return t.compute(t.shape(), lambda *i: over_count(t, total[i], product(extents), dtype))
        return total if dtype == t.dtype() else t.compute(t.shape(), lambda *i: t.cast(total[i], t.dtype()))

    def numpy(self, np: Any, x: Any) -> Any:
        parts, found = self.apart(x)
        dropped = self.dropped(found)
        axes = tuple(axis for axis, name in enumerate(flat(found.left)) if name in dropped)
        names = [name for name in flat(found.left) if name not in dropped]
        parts = getattr(np, self.reduction)(parts, axis=axes) if axes else parts
        return parts.transpose([names.index(name) for name in flat(found.right)]).reshape(found.result())


class Repeat(PatternOp, name="repeat"):
    """Repeat along the axes that the left side lacks: [*S] -> [*S'], `repeat("h w -> h (w k)", k=2)`.

    Semantics of einops.repeat.
    """

    samples = (
        case({"pattern": "1 n d -> b n d", "sizes": (("b", 3),)}, (1, 4, 5)),
        case({"pattern": "h w -> (h 2) (w k)", "sizes": (("k", 3),)}, (2, 3)),
        case({"pattern": "b ... -> b k ...", "sizes": (("k", 2),)}, (2, 3, 4)),
        case({"pattern": "h w -> w h"}, (2, 3)),
    )

    def check(self, pattern: Pattern) -> None:
        for axis in pattern.left.axes():
            if not pattern.right.has(axis.name):
                raise wrong(f"`{_written(axis)}` is on the left alone", axis.span, "`reduce` drops axes")

    def dtype(self, x: DType) -> DType:
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        x, left, right, given = self.split(t, x)
        names = flat(right)
        old = [name for name in names if name in flat(left)]
        x = order(x, flat(left), old)
        if len(old) < len(names):
            for axis, name in enumerate(names):
                if name not in old:
                    x = x.unsqueeze(axis)
            x = x.expand(*(-1 if name in old else given[name] for name in names))
        return merge(x, right)

    def te(self, t: Elements, x: Any) -> Any:
        return self.moves(t, x)

    def numpy(self, np: Any, x: Any) -> Any:
        parts, found = self.apart(x)
        names, wanted = flat(found.left), flat(found.right)
        parts = parts.transpose([names.index(name) for name in wanted if name in names])
        parts = np.expand_dims(parts, [axis for axis, name in enumerate(wanted) if name not in names])
        return np.broadcast_to(parts, [found.sizes[name] for name in wanted]).reshape(found.result())


def flat(names: Names) -> list[str]:
    """The names of a side without their groups."""
    return [name for group in names for name in group]


def order(x: Any, now: list[str], wanted: list[str]) -> Any:
    """Permute from one order of names to another, where they differ."""
    return x if now == wanted else x.permute(*(now.index(name) for name in wanted))


def merge(x: Any, groups: Names) -> Any:
    """Merge each group into one axis; an empty group is a new axis of size 1."""
    start = sum(len(group) for group in groups)
    for group in reversed(groups):
        start -= len(group)
        if not group:
            x = x.unsqueeze(start)
        elif len(group) > 1:
            x = x.flatten(start, start + len(group) - 1)
    return x


def _product(sizes: Any) -> Any:
    result: Any = 1
    for size in sizes:
        result = size if isinstance(result, int) and result == 1 else result * size
    return result


def _written(axis: Axis) -> str:
    return axis.name if axis.size is None else str(axis.size)
