"""Normalisations over axes of each sample by itself: layer, RMS and L2 norm."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Elements, Layer, Lowering, Op, Shape, WeightSpec, case
from .core.counts import Cost
from .core.init import Init
from .core.rows import Rows, wide
from .core.rules import ShapeError, axes_of, need_equal, need_inexact, need_rank
from .norm import (
    affine,
    affine_cost,
    affine_specs,
    need_weights,
    standard_cost,
)
from .reduce import Norm, reduced

Axes = int | tuple[int, ...]
# The smallest step from 1 of each type.
_STEP = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def sizes_over(x: Shape, axis: Axes) -> Shape:
    """The sizes of the axes, in the tensor's order."""
    return tuple(x[axis] for axis in sorted(axes_of(axis, len(x))))


def to_end(t: Lowering, x: Any, axis: Axes) -> tuple[Any, tuple[int, ...] | None]:
    """The tensor with the axes at its end, and the permutation that undoes it (None: they were there)."""
    rank = t.rank(x)
    axes = sorted(axes_of(axis, rank))
    order = [number for number in range(rank) if number not in axes] + axes
    if order == list(range(rank)):
        return x, None
    return x.permute(*order), tuple(order.index(number) for number in range(rank))


class OverAxes(Op):
    """A normalisation over axes, with weights of their sizes in the tensor's order."""

    axis: Axes = -1
    role = "reduction"

    def _check(self, x: Shape, **weights: Shape | None) -> Shape:
        wanted = sizes_over(x, self.axis)
        if not wanted:
            raise ShapeError(f"{self.title} needs an axis", "value", argument="axis")
        for slot, shape in weights.items():
            if shape is not None:
                need_rank(shape, len(wanted), len(wanted), f"`{slot}`", slot)
                for number, (found, size) in enumerate(zip(shape, wanted, strict=True)):
                    need_equal(found, size, f"sizes of `{slot}` and input", (slot, number))
        return x


class LayerNormWith(OverAxes, name="layer_norm_with"):
    """Normalise over axes with given weights: [*b, *n], [*n], [*n] -> [*b, *n] (arXiv:1607.06450)."""

    eps: float = 1e-5
    samples = (
        case({}, (2, 3, 4), (4,), (4,)),
        case({"axis": (-2, -1), "eps": 1e-6}, (2, 3, 4), (3, 4)),
        case({"axis": 1}, (2, 3, 4, 5), (3,), (3,)),
        case({"axis": (1, 2)}, (2, 3, 4, 5)),
    )

    def shape(self, x: Shape, weight: Shape | None = None, bias: Shape | None = None) -> Shape:
        return self._check(x, weight=weight, bias=bias)

    def dtype(self, x: DType, weight: DType | None = None, bias: DType | None = None) -> DType:
        need_weights(x, "layer_norm", weight=weight, bias=bias)
        return x

    def cost(self, out: Shape, x: Shape, weight: Shape | None = None, bias: Shape | None = None) -> Cost:
        rows = prod(reduced(x, self.axis, False))
        return standard_cost(prod(x), rows) + affine_cost(prod(x), weight, bias)

    def torch(self, t: Lowering, x: Any, weight: Any = None, bias: Any = None) -> Any:
        sizes = tuple(sizes_over(t.shape(x), self.axis))
        x, back = to_end(t, x, self.axis)
        y = t.F.layer_norm(x, sizes, weight, bias, self.eps)
        return y if back is None else y.permute(*back)

    def te(self, t: Elements, x: Any, weight: Any = None, bias: Any = None) -> Any:
        dtype = wide(x.dtype)
        rows = Rows(t, x, self.axis)
        standard = rows.standard(self.eps, dtype)
        return t.compute(
            x.shape, lambda *index: affine(t, standard(index), weight, bias, rows.inside(index), dtype)
        )

    def module(self, t: Lowering, x: Shape, weight: Shape | None = None, bias: Shape | None = None) -> Any:
        sizes = sizes_over(x, self.axis)
        trailing = sorted(axes_of(self.axis, len(x))) == list(range(len(x) - len(sizes), len(x)))
        if (
            not trailing
            or (weight is None and bias is not None)
            or not all(isinstance(s, int) for s in sizes)
        ):
            return None
        return t.nn.LayerNorm(sizes, self.eps, elementwise_affine=weight is not None, bias=bias is not None)


class LayerNorm(Layer, name="layer_norm"):
    """Normalise over axes, the last one unless given: [*b, *n] -> [*b, *n]; `axis=1` is over channels.

    Weights: `weight` and `bias` [*n], the sizes of the axes, if `affine`; no bias without `bias`.
    """

    axis: Axes = -1
    eps: float = 1e-5
    affine: bool = True
    bias: bool = True
    init: Init | None = None
    bias_init: Init | None = None
    samples = (
        case({}, (2, 3, 4)),
        case({"axis": (1, 2), "bias": False}, (2, 3, 4)),
        case({"axis": 1, "eps": 1e-6}, (2, 3, 4, 5)),
        case({"affine": False}, (2, 3)),
    )

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        sizes = sizes_over(x, self.axis)
        return affine_specs(sizes, self.affine, self.affine and self.bias, self.init, self.bias_init)

    def core(self, x: Shape) -> LayerNormWith:
        return LayerNormWith(axis=self.axis, eps=self.eps)


class RmsNormWith(OverAxes, name="rms_norm_with"):
    """Divide by the root mean square over axes: [*b, *n], [*n] -> [*b, *n] (arXiv:1910.07467).

    `eps` none is the smallest step from 1 of the input's type, as in torch.
    """

    eps: float | None = None
    samples = (
        case({}, (2, 3, 4), (4,)),
        case({"axis": (-2, -1), "eps": 1e-6}, (2, 3, 4), (3, 4)),
        case({"axis": 1}, (2, 3, 4, 5), (3,)),
        case({"axis": 1}, (2, 3, 4, 5)),
    )

    def shape(self, x: Shape, weight: Shape | None = None) -> Shape:
        return self._check(x, weight=weight)

    def dtype(self, x: DType, weight: DType | None = None) -> DType:
        need_inexact(x, "rms_norm")
        return x

    def cost(self, out: Shape, x: Shape, weight: Shape | None = None) -> Cost:
        elements, rows = prod(x), prod(reduced(x, self.axis, False))
        # Squares, their mean plus eps (E - R + R adds), the inverse root, the product.
        own = Cost(multiply=2 * elements, add=elements, divide=rows, transcendental=rows)
        return own + affine_cost(elements, weight, None)

    def torch(self, t: Lowering, x: Any, weight: Any = None) -> Any:
        sizes = tuple(sizes_over(t.shape(x), self.axis))
        x, back = to_end(t, x, self.axis)
        y = t.F.rms_norm(x, sizes, weight, self.eps)
        return y if back is None else y.permute(*back)

    def te(self, t: Elements, x: Any, weight: Any = None) -> Any:
        dtype = wide(x.dtype)
        eps = _STEP[x.dtype] if self.eps is None else self.eps
        rows = Rows(t, x, self.axis)

        def square(index: tuple[Any, ...]) -> Any:
            value = t.let(t.cast(x[index], dtype))
            return value * value

        mean = rows.mean(square, dtype)
        factor = t.compute(
            rows.shape, lambda *row: t.rsqrt(mean[row] + t.const(eps, dtype)), dtype, keep=True
        )

        def element(*index: Any) -> Any:
            value = t.cast(x[index], dtype) * factor[rows.of(index)]
            return affine(t, value, weight, None, rows.inside(index), dtype)

        return t.compute(x.shape, element)

    def numpy(self, np: Any, x: Any, weight: Any = None) -> Any:
        axes = tuple(sorted(axes_of(self.axis, x.ndim)))
        eps = np.finfo(x.dtype).eps if self.eps is None else self.eps
        y = x / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + eps)
        if weight is None:
            return y
        return y * weight.reshape([size if axis in axes else 1 for axis, size in enumerate(x.shape)])

    def module(self, t: Lowering, x: Shape, weight: Shape | None = None) -> Any:
        sizes = sizes_over(x, self.axis)
        trailing = sorted(axes_of(self.axis, len(x))) == list(range(len(x) - len(sizes), len(x)))
        if not trailing or not all(isinstance(s, int) for s in sizes):
            return None
        return t.nn.RMSNorm(sizes, self.eps, elementwise_affine=weight is not None)


class RmsNorm(Layer, name="rms_norm"):
    """Divide by the root mean square over axes, the last one unless given: [*b, *n] -> [*b, *n].

    Weight: `weight` [*n], the sizes of the axes, if `affine`.
    """

    axis: Axes = -1
    eps: float | None = None
    affine: bool = True
    init: Init | None = None
    samples = (
        case({}, (2, 3, 4)),
        case({"axis": 1, "eps": 1e-6}, (2, 3, 4, 5)),
        case({"affine": False}, (2, 3)),
    )

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        return affine_specs(sizes_over(x, self.axis), self.affine, False, self.init)

    def core(self, x: Shape) -> RmsNormWith:
        return RmsNormWith(axis=self.axis, eps=self.eps)


class L2Normalize(Op, name="l2_normalize"):
    """Divide by the norm over axes, at least eps: [*s] -> [*s], as torch.nn.functional.normalize."""

    axis: Axes = 1
    eps: float = 1e-12
    p: float = 2.0
    role = "reduction"
    samples = (
        case({}, (2, 3, 4)),
        case({"axis": -1, "p": 1.0}, (2, 3)),
        case({"axis": (1, 2)}, (2, 3, 4)),
        case({}, ("complex", (2, 3))),
    )

    @property
    def _norm(self) -> Norm:
        return Norm(axis=self.axis, keepdim=True, p=self.p)

    def shape(self, x: Shape) -> Shape:
        self._norm.shape(x)
        return x

    def dtype(self, x: DType) -> DType:
        need_inexact(x, "l2_normalize")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        norms = reduced(x, self.axis, True)
        return self._norm.cost(norms, x) + Cost(compare=prod(norms), divide=prod(x))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex; the norm is real."""
        norms = reduced(x, self.axis, True)
        return self._norm.cost_complex(norms, x) + Cost(compare=prod(norms), divide=2 * prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.normalize(x, p=self.p, dim=self.axis, eps=self.eps)

    def te(self, t: Elements, x: Any) -> Any:
        dtype = wide(x.dtype)
        norms = self._norm.kernel(t, x)
        rows = Rows(t, x, self.axis, keepdim=True)
        least = t.compute(
            rows.shape, lambda *row: t.maximum(norms[row], t.const(self.eps, dtype)), dtype, keep=True
        )
        return t.compute(x.shape, lambda *index: t.cast(x[index], dtype) / least[rows.of(index)])

    def numpy(self, np: Any, x: Any) -> Any:
        return x / np.maximum(self._norm.numpy(np, x), self.eps)
