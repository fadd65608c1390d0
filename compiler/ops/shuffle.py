"""Moves between channels and space."""

from __future__ import annotations

from typing import Any

from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.indexing import moved
from .core.rules import need_at_least, need_divisible, need_positive, need_rank


def _need_some(x: Shape, what: str) -> None:
    """No size is 0, for which torch gives back the operand as it is."""
    for axis, size in enumerate(x):
        need_at_least(size, 1, f"axis {axis} of {what}'s input", ("x", axis))


class PixelShuffle(Op, name="pixel_shuffle"):
    """Channels into space: [*b, C*r*r, H, W] -> [*b, C, H*r, W*r] (arXiv:1609.05158, equation 4)."""

    factor: int
    role = "move"
    samples = (case({"factor": 2}, (2, 12, 3, 4)), case({"factor": 3}, (9, 2, 1)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, None, "pixel_shuffle")
        need_positive(self.factor, "factor")
        _need_some(x, "pixel_shuffle")
        *leading, channels, height, width = x
        square = self.factor * self.factor
        need_divisible(channels, square, "the number of channels", ("x", -3), argument="factor")
        return (*leading, channels // square, height * self.factor, width * self.factor)

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.pixel_shuffle(x, self.factor)

    def te(self, t: Elements, x: Any) -> Any:
        r = self.factor

        def place(*i: Any) -> tuple[Any, ...]:
            *leading, c, h, w = i
            return (*leading, (c * r + h % r) * r + w % r, h // r, w // r)

        return moved(t, x, place)

    def numpy(self, np: Any, x: Any) -> Any:
        *leading, channels, height, width = x.shape
        r = self.factor
        parts = x.reshape(*leading, channels // (r * r), r, r, height, width)
        parts = np.moveaxis(parts, (-4, -3), (-3, -1))
        return parts.reshape(*leading, channels // (r * r), height * r, width * r)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.PixelShuffle(self.factor)


class PixelUnshuffle(Op, name="pixel_unshuffle"):
    """Space into channels: [*b, C, H*r, W*r] -> [*b, C*r*r, H, W], the inverse of pixel_shuffle."""

    factor: int
    role = "move"
    samples = (case({"factor": 2}, (2, 3, 4, 6)), case({"factor": 3}, (1, 3, 6)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, None, "pixel_unshuffle")
        need_positive(self.factor, "factor")
        _need_some(x, "pixel_unshuffle")
        *leading, channels, height, width = x
        need_divisible(height, self.factor, "the height", ("x", -2), argument="factor")
        need_divisible(width, self.factor, "the width", ("x", -1), argument="factor")
        return (*leading, channels * self.factor * self.factor, height // self.factor, width // self.factor)

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.pixel_unshuffle(x, self.factor)

    def te(self, t: Elements, x: Any) -> Any:
        r = self.factor

        def place(*i: Any) -> tuple[Any, ...]:
            *leading, c, h, w = i
            return (*leading, c // (r * r), h * r + c // r % r, w * r + c % r)

        return moved(t, x, place)

    def numpy(self, np: Any, x: Any) -> Any:
        *leading, channels, height, width = x.shape
        r = self.factor
        parts = x.reshape(*leading, channels, height // r, r, width // r, r)
        parts = np.moveaxis(parts, (-3, -1), (-4, -3))
        return parts.reshape(*leading, channels * r * r, height // r, width // r)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.PixelUnshuffle(self.factor)


class ChannelShuffle(Op, name="channel_shuffle"):
    """Channels of the groups in turn: [B, C, *S] -> [B, C, *S] (arXiv:1707.01083, figure 1)."""

    groups: int
    role = "move"
    samples = (case({"groups": 3}, (2, 12, 3, 4)), case({"groups": 2}, (2, 4, 5)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, None, "channel_shuffle")
        need_positive(self.groups, "groups")
        need_divisible(x[1], self.groups, "the number of channels", ("x", 1), argument="groups")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.channel_shuffle(x, self.groups)

    def te(self, t: Elements, x: Any) -> Any:
        each = x.shape[1] // self.groups

        def place(*i: Any) -> tuple[Any, ...]:
            return (i[0], i[1] % self.groups * each + i[1] // self.groups, *i[2:])

        return moved(t, x, place)

    def numpy(self, np: Any, x: Any) -> Any:
        parts = x.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, *x.shape[2:])
        return parts.swapaxes(1, 2).reshape(x.shape)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.ChannelShuffle(self.groups)
