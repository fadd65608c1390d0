"""Affine and bilinear maps of the last axis."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import Size, prod
from .core.base import Elements, Layer, Lowering, Op, Shape, WeightSpec, case
from .core.counts import Cost
from .core.init import Init, fan_in_uniform
from .core.rows import wide
from .core.rules import need_at_least, need_equal, need_positive, need_rank, need_same_dtype


def with_bias(t: Elements, total: Any, bias: Any) -> Any:
    """Sums [*b, O], which may be in a wider type, and a bias [O] if it is given."""
    if bias is None and total.dtype == t.dtype():
        return total

    def element(*index: Any) -> Any:
        value = total[index]
        return value if bias is None else value + t.cast(bias[index[-1]], total.dtype)

    return t.compute(total.shape, element)


class LinearWith(Op, name="linear_with"):
    """Affine map of the last axis with given weights: [*b, I], [O, I], [O] -> [*b, O]; y = x W^T + b.

    The contract of torch.nn.Linear: unlike torch.nn.functional.linear it broadcasts no bias.
    """

    role = "contraction"
    samples = (case({}, (2, 3), (5, 3)), case({}, (4, 2, 3), (5, 3), (5,)))

    def shape(self, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        need_rank(x, 1, None, "linear")
        need_rank(weight, 2, 2, "the weight of linear", "weight")
        need_equal(x[-1], weight[1], "features of the input and of the weight", ("x", -1), ("weight", 1))
        if bias is not None:
            need_rank(bias, 1, 1, "the bias of linear", "bias")
            need_equal(bias[0], weight[0], "sizes of bias and output", ("bias", 0), ("weight", 0))
        return (*x[:-1], weight[0])

    def dtype(self, x: DType, weight: DType, bias: DType | None = None) -> DType:
        need_same_dtype({"x": x, "weight": weight} | ({} if bias is None else {"bias": bias}), "linear")
        return x

    def cost(self, out: Shape, x: Shape, weight: Shape, bias: Shape | None = None) -> Cost:
        return Cost(macs=prod(out) * x[-1], add=0 if bias is None else prod(out))

    def torch(self, t: Lowering, x: Any, weight: Any, bias: Any = None) -> Any:
        return t.F.linear(x, weight, bias)

    def te(self, t: Elements, x: Any, weight: Any, bias: Any = None) -> Any:
        dtype = wide(t.dtype())

        def element(*index: Any) -> Any:
            *row, out, k = index
            return t.cast(x[(*row, k)], dtype) * t.cast(weight[out, k], dtype)

        return with_bias(t, t.reduce("sum", t.shape(), (x.shape[-1],), element, dtype), bias)

    def numpy(self, np: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        y = x @ weight.T
        return y if bias is None else y + bias

    def module(self, t: Lowering, x: Shape, weight: Shape, bias: Shape | None = None) -> Any:
        return t.nn.Linear(weight[1], weight[0], bias=bias is not None)


class Linear(Layer, name="linear"):
    """Affine map of the last axis: [*b, I] -> [*b, out].

    Weights: `weight` [out, I], `bias` [out] unless switched off.
    """

    out: Size
    bias: bool = True
    init: Init | None = None
    bias_init: Init | None = None
    samples = (case({"out": 8}, (2, 3)), case({"out": 8, "bias": False}, (3,)))

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        need_rank(x, 1, None, "linear")
        need_positive(self.out, "out")
        specs = {"weight": WeightSpec((self.out, x[-1]), self.init or fan_in_uniform())}
        if self.bias:
            default = fan_in_uniform(x[-1]) if isinstance(x[-1], int) else fan_in_uniform()
            specs["bias"] = WeightSpec((self.out,), self.bias_init or default)
        return specs

    def core(self, x: Shape) -> LinearWith:
        return LinearWith()


class BilinearWith(Op, name="bilinear_with"):
    """Bilinear map with given weights: [*b, I], [*b, J], [O, I, J], [O] -> [*b, O]; y_o = x^T W_o z + b_o.

    As torch.nn.functional.bilinear; the leading axes of both inputs are equal.
    """

    role = "contraction"
    samples = (case({}, (2, 3), (2, 4), (5, 3, 4)), case({}, (2, 6, 3), (2, 6, 2), (5, 3, 2), (5,)))

    def shape(self, x: Shape, z: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        need_rank(x, 1, None, "bilinear")
        need_rank(z, len(x), len(x), "bilinear", "z")
        need_rank(weight, 3, 3, "the weight of bilinear", "weight")
        for axis in range(len(x) - 1):
            need_equal(x[axis], z[axis], f"sizes of axis {axis} of both inputs", ("x", axis), ("z", axis))
        for number, (slot, given) in enumerate((("x", x), ("z", z)), start=1):
            need_at_least(given[-1], 1, f"the number of features of {slot}", (slot, -1))
            what = f"features of {slot} and axis {number} of the weight"
            need_equal(given[-1], weight[number], what, (slot, -1), ("weight", number))
        if bias is not None:
            need_rank(bias, 1, 1, "the bias of bilinear", "bias")
            need_equal(bias[0], weight[0], "sizes of bias and output", ("bias", 0), ("weight", 0))
        return (*x[:-1], weight[0])

    def dtype(self, x: DType, z: DType, weight: DType, bias: DType | None = None) -> DType:
        given = {"x": x, "z": z, "weight": weight} | ({} if bias is None else {"bias": bias})
        need_same_dtype(given, "bilinear")
        return x

    def cost(self, out: Shape, x: Shape, z: Shape, weight: Shape, bias: Shape | None = None) -> Cost:
        # W_o z for each row and result, then the product with x.
        inner = prod(out) * x[-1]
        return Cost(macs=inner * z[-1] + inner, add=0 if bias is None else prod(out))

    def torch(self, t: Lowering, x: Any, z: Any, weight: Any, bias: Any = None) -> Any:
        return t.F.bilinear(x, z, weight, bias)

    def te(self, t: Elements, x: Any, z: Any, weight: Any, bias: Any = None) -> Any:
        dtype = wide(t.dtype())
        shape = t.shape()

        def inner(*index: Any) -> Any:
            *row, out, i, j = index
            return t.cast(z[(*row, j)], dtype) * t.cast(weight[out, i, j], dtype)

        # W_o z for each row, then the product with x.
        mapped = t.reduce("sum", (*shape, x.shape[-1]), (z.shape[-1],), inner, dtype)

        def element(*index: Any) -> Any:
            *row, _, i = index
            return t.cast(x[(*row, i)], dtype) * mapped[index]

        return with_bias(t, t.reduce("sum", shape, (x.shape[-1],), element, dtype), bias)

    def numpy(self, np: Any, x: Any, z: Any, weight: Any, bias: Any = None) -> Any:
        y = np.einsum("...i,oij,...j->...o", x, weight, z, optimize=True)
        return y if bias is None else y + bias

    def module(self, t: Lowering, x: Shape, z: Shape, weight: Shape, bias: Shape | None = None) -> Any:
        return t.nn.Bilinear(weight[1], weight[2], weight[0], bias=bias is not None)


class Bilinear(Layer, name="bilinear"):
    """Bilinear map of two inputs: [*b, I], [*b, J] -> [*b, out].

    Weights: `weight` [out, I, J], `bias` [out] unless switched off; both within 1/sqrt(I), as in torch.nn.
    """

    out: Size
    bias: bool = True
    init: Init | None = None
    bias_init: Init | None = None
    samples = (case({"out": 4}, (2, 3), (2, 5)), case({"out": 4, "bias": False}, (2, 6, 3), (2, 6, 2)))

    def weights(self, x: Shape, z: Shape) -> dict[str, WeightSpec]:
        need_rank(x, 1, None, "bilinear")
        need_rank(z, 1, None, "bilinear", "z")
        need_positive(self.out, "out")
        for slot, given in (("x", x), ("z", z)):
            need_at_least(given[-1], 1, f"the number of features of {slot}", (slot, -1))
        default = fan_in_uniform(x[-1]) if isinstance(x[-1], int) else fan_in_uniform()
        specs = {"weight": WeightSpec((self.out, x[-1], z[-1]), self.init or default)}
        if self.bias:
            specs["bias"] = WeightSpec((self.out,), self.bias_init or default)
        return specs

    def core(self, x: Shape, z: Shape) -> BilinearWith:
        return BilinearWith()
