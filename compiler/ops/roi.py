"""Boxes of detectors: overlap, suppression with a static bound, and sampling regions of interest.

A box is (x1, y1, x2, y2). All shapes follow from shapes, none from data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import I64, DType
from ..sizes.dims import Size, prod
from .conv import per_axis
from .core.base import Elements, Lowering, Op, Shape, Sizes, case
from .core.counts import Cost
from .core.rules import (
    ShapeError,
    need_at_least,
    need_equal,
    need_float,
    need_positive,
    need_rank,
    need_same_dtype,
)
from .core.sample_elements import Tap, mixed, whole
from .core.window_elements import sum_type, where
from .positions import Positions


def need_boxes(boxes: Shape, columns: int, what: str, operand: str) -> None:
    """[N, columns], or `ShapeError`."""
    need_rank(boxes, 2, 2, what, operand)
    need_equal(boxes[1], columns, f"columns of `{operand}` and what {what} takes", (operand, 1))


def overlap_cost(pairs: Size, boxes: Size) -> Cost:
    """Intersection over union of each pair, areas once a box.

    Area: two differences and a product. Pair: two maxima and minima, two differences held to zero, their
    product, the union, the quotient.
    """
    return Cost(add=2 * boxes, multiply=boxes) + Cost(
        add=4 * pairs, compare=6 * pairs, multiply=pairs, divide=pairs
    )


def overlap(t: Lowering, a: Any, b: Any) -> Any:
    """Intersection over union of every box of `a` with every one of `b`: [N, 4], [M, 4] -> [N, M]."""
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    low = t.torch.maximum(a[:, None, :2], b[None, :, :2])
    high = t.torch.minimum(a[:, None, 2:], b[None, :, 2:])
    extent = (high - low).clamp(min=0)
    inter = extent[:, :, 0] * extent[:, :, 1]
    return inter / (area_a[:, None] + area_b - inter)


def overlap_of(t: Elements, a: Callable[[int], Any], b: Callable[[int], Any], kind: str) -> Any:
    """Intersection over union of two boxes that are read by column."""
    (ax, ay, az, aw), (bx, by, bz, bw) = (
        [t.let(t.cast(box(column), kind)) for column in range(4)] for box in (a, b)
    )
    zero = t.const(0, kind)
    width = t.maximum(t.minimum(az, bz) - t.maximum(ax, bx), zero)
    height = t.maximum(t.minimum(aw, bw) - t.maximum(ay, by), zero)
    inter = t.let(width * height)
    return inter / ((az - ax) * (aw - ay) + (bz - bx) * (bw - by) - inter)


class BoxIou(Op, name="box_iou"):
    """Intersection over union of all pairs of boxes: [N, 4], [M, 4] -> [N, M]; torchvision.ops.box_iou."""

    samples = (case({}, (3, 4), (5, 4)), case({}, (1, 4), (2, 4)))

    def shape(self, a: Shape, b: Shape) -> Shape:
        need_boxes(a, 4, "box_iou", "a")
        need_boxes(b, 4, "box_iou", "b")
        return (a[0], b[0])

    def dtype(self, a: DType, b: DType) -> DType:
        need_float(a, "box_iou", "a")
        need_same_dtype({"a": a, "b": b}, "box_iou")
        return a

    def cost(self, out: Shape, a: Shape, b: Shape) -> Cost:
        return overlap_cost(a[0] * b[0], a[0] + b[0])

    def torch(self, t: Lowering, a: Any, b: Any) -> Any:
        return overlap(t, a, b)

    def te(self, t: Elements, a: Any, b: Any) -> Any:
        kind = sum_type(t.dtype())
        return t.compute(
            t.shape(), lambda *i: overlap_of(t, lambda k: a[i[0], k], lambda k: b[i[1], k], kind)
        )


class Nms(Op, name="nms"):
    """Greedy non-maximum suppression with a bound: [N, 4], [N] -> kept i64[max_boxes], count i64[].

    Takes the best-scored box, drops those that overlap it by more than `iou_threshold`, and so on until
    `max_boxes` are kept or none is left; places left over hold -1. The first `max_boxes` of
    torchvision.ops.nms, with one step of the graph for each, so keep the bound small. A score of minus
    infinity is never kept.
    """

    iou_threshold: float
    max_boxes: int
    samples = (
        case({"iou_threshold": 0.5, "max_boxes": 3}, (6, 4), (6,)),
        case({"iou_threshold": 0.1, "max_boxes": 5}, (3, 4), (3,)),
    )

    def shape(self, boxes: Shape, scores: Shape) -> list[Shape]:
        need_boxes(boxes, 4, "nms", "boxes")
        need_rank(scores, 1, 1, "the scores of nms", "scores")
        need_equal(boxes[0], scores[0], "the numbers of boxes and scores", ("boxes", 0), ("scores", 0))
        need_at_least(boxes[0], 1, "the number of boxes", ("boxes", 0))
        need_positive(self.max_boxes, "max_boxes")
        return [(self.max_boxes,), ()]

    def dtype(self, boxes: DType, scores: DType) -> list[DType]:
        need_float(boxes, "nms", "boxes")
        need_same_dtype({"boxes": boxes, "scores": scores}, "nms")
        return [I64, I64]

    def cost(self, out: list[Shape], boxes: Shape, scores: Shape) -> Cost:
        n, steps = boxes[0], self.max_boxes
        # Each step: the greatest score, whether it is a box, masking what it overlaps and itself.
        step = Cost(compare=n + 1 + 1 + n + 1)
        pairs = n * n
        ending = Cost(compare=steps, add=steps)
        return overlap_cost(pairs, 2 * n) + Cost(compare=pairs) + step.scaled(steps) + ending

    def torch(self, t: Lowering, boxes: Any, scores: Any) -> Any:
        hides = overlap(t, boxes, boxes) > self.iou_threshold
        kept: list[Any] = []
        for _ in range(self.max_boxes):
            best = scores.argmax().reshape(1)
            left = scores.index_select(0, best) > float("-inf")
            kept.append(t.torch.where(left, best, -1))
            hidden = hides.index_select(0, best)[0]
            scores = scores.masked_fill(hidden, float("-inf")).index_fill(0, best, float("-inf"))
        indices = t.torch.cat(kept)
        return indices, (indices >= 0).sum()

    def te(self, t: Elements, boxes: Any, scores: Any) -> Any:
        count = scores.shape[0]
        kind = sum_type(boxes.dtype)
        lowest, threshold = t.const(float("-inf"), kind), t.const(self.iou_threshold, kind)

        def emit(b: Any, outs: list[Any]) -> None:
            left = b.alloc([count], kind)
            top, best = b.alloc([1], kind), b.alloc([1], "int64")
            with b.loop(count) as i:
                b.store(left, t.cast(scores[i], kind), i)
            b.store(outs[1], t.const(0, "int64"), 0)
            with b.loop(self.max_boxes) as step:
                # The first of the greatest; a NaN is greater than all.
                b.store(top, left[0], 0)
                b.store(best, t.const(0, "int64"), 0)
                with b.loop(count) as i:
                    score = b.let(left[i])
                    more = t.logical_or(
                        score > top[0], t.logical_and(t.isnan(score), t.logical_not(t.isnan(top[0])))
                    )
                    with b.when(more):
                        b.store(top, score, 0)
                        b.store(best, t.cast(i, "int64"), 0)
                at, found = b.let(best[0]), b.let(top[0] > lowest)
                b.store(outs[0], t.select(found, at, t.const(-1, "int64")), step)
                with b.when(found):
                    b.store(outs[1], outs[1][0] + t.const(1, "int64"), 0)
                with b.loop(count) as i:
                    shared = overlap_of(t, lambda k: boxes[at, k], lambda k, i=i: boxes[i, k], kind)
                    with b.when(shared > threshold):
                        b.store(left, lowest, i)
                b.store(left, lowest, at)

        return t.build([(t.shape(), "int64"), (t.shape(1), "int64")], emit)


class RoiAlign(Op, name="roi_align"):
    """Sample regions on a grid: [B, C, H, W], boxes [K, 5] -> [K, C, *size] (He et al. 2017,
    arXiv:1703.06870).

    A box is (sample, x1, y1, x2, y2) in the image's coordinates, `spatial_scale` times which are the input's.
    Every bin is the mean of sampling_ratio^2 points, each mixed of the four elements around it; points more
    than one element outside count zero; a sample that is not there is an error when the plan runs. `aligned`
    shifts by half an element. torchvision.ops.roi_align with a given sampling ratio: an adaptive one depends
    on data.
    """

    size: Sizes
    spatial_scale: float = 1.0
    sampling_ratio: int = 2
    aligned: bool = False
    samples = (
        case({"size": 3}, (2, 3, 8, 7), (4, 5)),
        case(
            {"size": (2, 3), "spatial_scale": 0.5, "sampling_ratio": 1, "aligned": True}, (2, 3, 8, 7), (4, 5)
        ),
    )

    def shape(self, x: Shape, boxes: Shape) -> Shape:
        need_rank(x, 4, 4, "roi_align")
        need_boxes(boxes, 5, "roi_align", "boxes")
        for axis in (0, 2, 3):
            need_at_least(x[axis], 1, f"axis {axis} of roi_align's input", ("x", axis))
        if self.sampling_ratio < 1:
            raise ShapeError(
                f"`sampling_ratio` is {self.sampling_ratio}, and must be at least 1",
                "value",
                argument="sampling_ratio",
                help="an adaptive ratio depends on data; 2 is the usual one",
            )
        sizes = per_axis(self.size, 2, "size")
        for size in sizes:
            need_positive(size, "size")
        return (boxes[0], x[1], *sizes)

    def dtype(self, x: DType, boxes: DType) -> DType:
        need_float(x, "roi_align")
        need_same_dtype({"x": x, "boxes": boxes}, "roi_align")
        return x

    def _points(self, out: Shape) -> tuple[Size, Size]:
        """Grid points of one box, and the coordinates of all boxes: those of both axes apart."""
        ratio = self.sampling_ratio
        return prod(out[2:]) * ratio * ratio, out[0] * (out[2] + out[3]) * ratio

    def cost(self, out: Shape, x: Shape, boxes: Shape) -> Cost:
        points, coordinates = self._points(out)
        # A box: 4 corners scaled (and shifted), 2 extents (held to one element), 2 steps of the grid.
        box = Cost(
            multiply=4 + 2,
            add=2 + (4 if self.aligned else 0),
            compare=0 if self.aligned else 2,
        ).scaled(out[0])
        # A coordinate: start + step*number; two tests of being outside; held inside; fraction and rest.
        axis = Cost(macs=1, compare=2 + 2 + 1, add=2).scaled(coordinates)
        # A point: four weights and their mask; in every channel four multiply-adds, then the mean.
        weights = Cost(multiply=4 + 1).scaled(out[0] * points)
        mixed = Cost(macs=4 * out[0] * out[1] * points, divide=prod(out))
        means = Cost(add=out[0] * out[1] * points)
        return box + axis + weights + mixed + means

    def reads(self, x: Shape, boxes: Shape) -> dict[str, Size]:
        points, _ = self._points(self.shape(x, boxes))
        return {"x": 4 * boxes[0] * x[1] * points}

    def positions(self, out: Shape, x: Shape, boxes: Shape) -> Positions:
        return Positions("boxes", x[0], 0)

    def torch(self, t: Lowering, x: Any, boxes: Any) -> Any:
        batch, _, height, width = t.shape(x)
        high, wide = (t.size(size) for size in per_axis(self.size, 2, "size"))
        # Refused where there is no such sample, a negative one too.
        sample = t.torch.arange(batch, device=boxes.device).index_select(0, boxes[:, 0].long())
        corners = boxes[:, 1:] * self.spatial_scale - (0.5 if self.aligned else 0.0)
        y0, y1, y_low, inside_y = self._axis(t, corners[:, 1], corners[:, 3], height, high)
        x0, x1, x_low, inside_x = self._axis(t, corners[:, 0], corners[:, 2], width, wide)
        pixels = x.permute(0, 2, 3, 1)

        def read(rows: Any, columns: Any) -> Any:
            return pixels[sample[:, None, None], rows[:, :, None], columns[:, None, :]]

        top = read(y0, x0) * (1 - x_low)[:, None, :, None] + read(y0, x1) * x_low[:, None, :, None]
        bottom = read(y1, x0) * (1 - x_low)[:, None, :, None] + read(y1, x1) * x_low[:, None, :, None]
        mixed = top * (1 - y_low)[:, :, None, None] + bottom * y_low[:, :, None, None]
        inside = (inside_y[:, :, None] & inside_x[:, None, :])[:, :, :, None]
        # [K, size*ratio, size*ratio, C], to the mean of each bin.
        points = t.torch.where(inside, mixed, 0.0)
        bins = points.unflatten(2, (wide, self.sampling_ratio)).unflatten(1, (high, self.sampling_ratio))
        return bins.mean((2, 4)).permute(0, 3, 1, 2)

    def te(self, t: Elements, x: Any, boxes: Any) -> Any:
        kind = sum_type(x.dtype)
        ratio = self.sampling_ratio
        bins = [t.size(size) for size in per_axis(self.size, 2, "size")]

        def taps(k: Any, axis: int, place: Any) -> tuple[list[Tap], list[Any]]:
            # Columns of a box are (x, y), the axes (y, x).
            start, end = (
                t.cast(boxes[k, 1 + corner + 1 - axis], kind) * t.const(self.spatial_scale, kind)
                - t.const(0.5 if self.aligned else 0.0, kind)
                for corner in (0, 2)
            )
            one, length = t.const(1, kind), x.shape[2 + axis]
            extent = end - start if self.aligned else t.maximum(end - start, one)
            step = extent / t.cast(bins[axis] * ratio, kind)
            at = t.let(start + (t.cast(place, kind) + t.const(0.5, kind)) * step)
            inside = [at >= t.const(-1, kind), at <= t.cast(length, kind)]
            at = t.let(t.maximum(at, t.const(0, kind)))
            first = whole(t, at, 0, length - 1, kind)
            second = t.let(t.minimum(first + 1, length - 1))
            share = t.let(t.select(second > first, at - t.cast(first, kind), t.const(0, kind)))
            return [Tap(one - share, first), Tap(share, second)], inside

        def point(k: Any, c: Any, i: Any, j: Any, y: Any, z: Any) -> Any:
            sample = whole(t, t.cast(boxes[k, 0], kind), 0, x.shape[0] - 1, kind)
            (rows, inside), (columns, within) = taps(k, 0, i * ratio + y), taps(k, 1, j * ratio + z)
            return where(
                t,
                [*inside, *within],
                lambda: mixed(t, [rows, columns], lambda places: t.cast(x[(sample, c, *places)], kind), kind),
                t.const(0, kind),
            )

        sums = t.reduce("sum", t.shape(), (ratio, ratio), point, kind)
        return t.compute(t.shape(), lambda *i: sums[i] / t.const(ratio * ratio, kind))

    def _axis(self, t: Lowering, start: Any, end: Any, length: Any, bins: Any) -> tuple[Any, ...]:
        """Along one axis, for all grid points [K, bins*ratio]: both neighbours, the second's share, being
        inside.
        """
        extent = end - start
        if not self.aligned:
            extent = extent.clamp(min=1.0)
        count = bins * self.sampling_ratio
        numbers = t.torch.arange(count, device=start.device).to(start.dtype)
        at = start[:, None] + (numbers + 0.5) * (extent / count)[:, None]
        inside = (at >= -1.0) & (at <= length)
        at = at.clamp(min=0.0)
        first = at.long().clamp(max=length - 1)
        second = (first + 1).clamp(max=length - 1)
        share = t.torch.where(second > first, at - first, 0.0)
        return first, second, share, inside
