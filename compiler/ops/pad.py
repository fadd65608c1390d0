"""Padding and cropping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..dtypes import DType, is_bool
from ..sizes.dims import Size, minimum
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.indexing import typed, where_all
from .core.promotion import need_element
from .core.rules import ShapeError, need_at_least, need_rank

if TYPE_CHECKING:
    from ..types import TensorType


class Pad(Op, name="pad"):
    """Add elements before and after axes: [*S] -> [*S'].

    `amounts` lists (before, after) from the last axis backwards, as torch.nn.functional.pad does: [left,
    right, top, bottom]. Negative amounts crop. `constant` fills with `value`, on any axes; `reflect`,
    `replicate` and `circular` continue [B, C, *S] on all of its 1 to 3 spatial axes (or the last ones, of an
    unbatched [C, *S]). Amounts of zero leave no operator.
    """

    amounts: tuple[Size, ...]
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"
    value: float = 0.0
    role = "move"
    samples = (
        case({"amounts": (1, 2)}, (2, 3)),
        case({"amounts": (1, -1, 0, 2), "value": 0.5}, (2, 3, 4, 4)),
        case({"amounts": (1, 2, 2, 1), "mode": "reflect"}, (2, 3, 4, 5)),
        case({"amounts": (3, 2), "mode": "replicate"}, (2, 3, 4)),
        case({"amounts": (1, 2, 0, 3), "mode": "circular"}, (2, 3, 4, 5)),
        case({"amounts": (1, 1, 0, 1, 1, 0), "mode": "reflect"}, (1, 2, 3, 4, 3)),
    )

    def shape(self, x: Shape) -> Shape:
        axes = len(self.amounts) // 2
        if len(self.amounts) % 2:
            message = f"`amounts` has {len(self.amounts)} entries, and must have two for each axis"
            raise ShapeError(message, "value", argument="amounts")
        if self.mode == "constant":
            need_rank(x, axes, None, f"pad with amounts for {axes} axes")
        else:
            self._check(x, axes)
        sizes = list(x)
        for number in range(axes):
            axis = len(x) - 1 - number
            before, after = self.amounts[2 * number], self.amounts[2 * number + 1]
            if self.mode == "constant":
                cropped = x[axis] + minimum(before, 0) + minimum(after, 0)
                need_at_least(cropped, 0, f"what cropping leaves of axis {axis}", ("x", axis))
            sizes[axis] = x[axis] + before + after
            need_at_least(
                sizes[axis], 0 if self.mode == "constant" else 1, f"the padded axis {axis}", ("x", axis)
            )
        return tuple(sizes)

    def _check(self, x: Shape, axes: int) -> None:
        if axes not in (1, 2, 3):
            raise ShapeError(
                f'mode "{self.mode}" pads 1 to 3 axes, and got amounts for {axes}',
                "value",
                argument="amounts",
            )
        need_rank(x, axes + 1, axes + 2, f'pad with mode "{self.mode}" and amounts for {axes} axes')
        # An empty batch may be padded, nothing else that is empty.
        for axis in range(1 if len(x) == axes + 2 else 0, len(x)):
            need_at_least(x[axis], 1, f"axis {axis} of pad's input", ("x", axis))
        for number in range(2 * axes):
            axis, amount = len(x) - 1 - number // 2, self.amounts[number]
            if self.mode == "reflect":
                need_at_least(x[axis] - 1, amount, f"what axis {axis} has to reflect", ("x", axis))
            elif self.mode == "circular":
                need_at_least(x[axis], amount, f"what axis {axis} has to repeat", ("x", axis))

    def unchanged(self, types: Sequence[TensorType]) -> bool:
        """Whether nothing is added or cropped."""
        return all(isinstance(amount, int) and amount == 0 for amount in self.amounts)

    def dtype(self, x: DType) -> DType:
        if self.mode == "replicate" and is_bool(x):
            raise ShapeError('mode "replicate" needs numbers, and got bool', "dtype", (("x", None),))
        if self.mode == "constant":
            need_element(float(self.value), x, "value")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        amounts = [t.size(amount) for amount in self.amounts]
        if self.mode != "constant":
            return t.F.pad(x, amounts, self.mode)
        return t.F.pad(x, amounts, value=self.value) if self.value else t.F.pad(x, amounts)

    def te(self, t: Elements, x: Any) -> Any:
        # For each axis from the front: before and after.
        pairs = [(t.size(a), t.size(b)) for a, b in zip(self.amounts[::2], self.amounts[1::2], strict=True)]
        amounts = {x.rank - 1 - number: pair for number, pair in enumerate(pairs)}

        def element(*i: Any) -> Any:
            at = [p - amounts[axis][0] if axis in amounts else p for axis, p in enumerate(i)]
            for axis, (before, after) in amounts.items():
                at[axis] = typed(t, at[axis], x.shape[axis])
                if self.mode != "constant":
                    at[axis] = t.let(self._continued(t, at[axis], x.shape[axis], before, after))
            if self.mode != "constant":
                return x[tuple(at)]
            inside = [at[axis] >= 0 for axis, (before, _) in amounts.items() if _positive(before)]
            inside += [at[axis] < x.shape[axis] for axis, (_, after) in amounts.items() if _positive(after)]
            return where_all(t, inside, lambda: x[tuple(at)], t.const(self.value))

        return t.compute(t.shape(), element)

    def _continued(self, t: Elements, at: Any, size: Any, before: Any, after: Any) -> Any:
        """The position on an axis of which a position outside repeats the element."""
        low, high = _positive(before), _positive(after)
        if self.mode == "reflect":
            at = t.let(t.select(at < 0, -at, at)) if low else at
            return t.select(at < size, at, 2 * (size - 1) - at) if high else at
        if self.mode == "replicate":
            at = t.maximum(at, 0) if low else at
            return t.minimum(at, size - 1) if high else at
        # What is cropped is not repeated.
        first, end = _cropped(t, before), size - _cropped(t, after)
        at = t.let(t.select(at < first, at + (end - first), at)) if low else at
        return t.select(at < end, at, at - (end - first)) if high else at

    def numpy(self, np: Any, x: Any) -> Any:
        pairs = [(0, 0)] * (x.ndim - len(self.amounts) // 2)
        pairs += list(zip(self.amounts[::2], self.amounts[1::2], strict=True))[::-1]
        added = [(max(before, 0), max(after, 0)) for before, after in pairs]

        def cropped(found: Any) -> Any:
            ends = zip(pairs, found.shape, strict=True)
            return found[tuple(slice(max(-a, 0), size - max(-b, 0)) for (a, b), size in ends)]

        if self.mode == "constant":
            return np.pad(cropped(x), added, constant_values=self.value)
        if self.mode == "circular":
            return np.pad(cropped(x), added, "wrap")
        return cropped(np.pad(x, added, "edge" if self.mode == "replicate" else "reflect"))


def _cropped(t: Elements, amount: Any) -> Any:
    return max(-amount, 0) if isinstance(amount, int) else t.maximum(-amount, 0)


def _positive(amount: Any) -> bool:
    """Whether elements may be added, and not only cropped."""
    return not isinstance(amount, int) or amount > 0
