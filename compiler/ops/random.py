"""Random regularisers: they act in train mode, and are the identity otherwise."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Lowering, Mode, Op, Shape, case
from .core.counts import Cost
from .core.rules import ShapeError, need_float, need_rank


class Random(Op):
    """A random function that keeps the shape: [*b] -> [*b]; `p` is the probability of a drop."""

    p: float = 0.5

    def shape(self, x: Shape) -> Shape:
        if not 0.0 <= self.p <= 1.0:
            raise ShapeError(f"`p` is {self.p}, and must lie in [0, 1]", "value", argument="p")
        return x

    def dtype(self, x: DType) -> DType:
        need_float(x, self.name)
        return x

    def in_mode(self, mode: Mode) -> Op | None:
        return self if mode == "train" and self.p > 0 else None

    @property
    def effects(self) -> frozenset[str]:
        """It draws random numbers."""
        return frozenset({"random"})

    def cost(self, out: Shape, x: Shape) -> Cost:
        # One draw compared and scaled for each entry of the mask; one product for each element.
        draws = prod(self.mask(x))
        return Cost(compare=draws, multiply=draws + prod(x))

    def mask(self, x: Shape) -> Shape:
        """The axes along which draws differ."""
        return x

    def kept(self, np: Any, x: Any) -> Any:
        """Whether each element stays, one draw for each entry of the mask."""
        axes = len(self.mask(x.shape))
        drawn = np.random.random_sample((*x.shape[:axes], *(1,) * (x.ndim - axes)))
        return drawn >= self.p

    def numpy(self, np: Any, x: Any) -> Any:
        return np.where(self.kept(np, x), x / (1 - self.p or 1.0), 0).astype(x.dtype)


class Dropout(Random, name="dropout"):
    """Zero each element with probability p, scale the others by 1/(1 - p): [*b] -> [*b] (arXiv:1207.0580)."""

    samples = (case({}, (2, 3)), case({"p": 0.1}, (2, 3, 4)))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.dropout(x, self.p, training=True)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Dropout(self.p)


class Dropout1d(Random, name="dropout1d"):
    """Drop whole channels: [B, C, L] or [C, L] -> the same (arXiv:1411.4280), as torch.nn.Dropout1d."""

    samples = (case({}, (2, 3, 4)), case({"p": 0.2}, (6, 4)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 2, 3, "dropout1d")
        return super().shape(x)

    def mask(self, x: Shape) -> Shape:
        return x[:-1]

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.dropout1d(x, self.p, training=True)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Dropout1d(self.p)


class Dropout2d(Random, name="dropout2d"):
    """Drop whole channels: [B, C, H, W] -> [B, C, H, W] (arXiv:1411.4280), as torch.nn.Dropout2d."""

    samples = (case({}, (2, 3, 4, 2)), case({"p": 0.2}, (1, 6, 3, 2)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 4, 4, "dropout2d")
        return super().shape(x)

    def mask(self, x: Shape) -> Shape:
        return x[:2]

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.dropout2d(x, self.p, training=True)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Dropout2d(self.p)


class Dropout3d(Random, name="dropout3d"):
    """Drop whole channels: [B, C, D, H, W] or [C, D, H, W] -> the same, as torch.nn.Dropout3d."""

    samples = (case({}, (2, 3, 4, 2, 2)), case({"p": 0.2}, (6, 2, 3, 2)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 4, 5, "dropout3d")
        return super().shape(x)

    def mask(self, x: Shape) -> Shape:
        return x[:-3]

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.dropout3d(x, self.p, training=True)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Dropout3d(self.p)


class AlphaDropout(Random, name="alpha_dropout"):
    """Dropout that keeps mean and variance of SELU's activations: [*b] -> [*b] (arXiv:1706.02515)."""

    samples = (case({}, (2, 3)), case({"p": 0.1}, (2, 3, 4)))

    def cost(self, out: Shape, x: Shape) -> Cost:
        # A draw compared, a choice of the element or the saturation value, and an affine map.
        return Cost(compare=2 * prod(x), multiply=prod(x), add=prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.alpha_dropout(x, self.p, training=True)

    def numpy(self, np: Any, x: Any) -> Any:
        # Section 3 of the paper: what is dropped becomes -scale*alpha, the limit of SELU below, and an affine
        # map restores mean and variance.
        keep, limit = 1 - self.p, -1.7580993408473766
        if keep == 0:
            return np.zeros_like(x)
        slope = (keep + limit * limit * keep * self.p) ** -0.5
        found = slope * np.where(self.kept(np, x), x, limit) - slope * self.p * limit
        return found.astype(x.dtype)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.AlphaDropout(self.p)


class DropPath(Random, name="drop_path"):
    """Zero whole samples with probability p: [B, *s] -> [B, *s] (stochastic depth, arXiv:1603.09382).

    With `scale_by_keep` the others are divided by 1 - p, as in timm.
    """

    p: float = 0.0
    scale_by_keep: bool = True
    samples = (
        case({"p": 0.4}, (5, 3, 2)),
        case({"p": 0.3, "scale_by_keep": False}, (6,)),
        case({"p": 1.0}, (2, 3)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "drop_path")
        return super().shape(x)

    def cost(self, out: Shape, x: Shape) -> Cost:
        scaled = self.scale_by_keep and self.p < 1
        return Cost(compare=x[0], divide=x[0] if scaled else 0, multiply=prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        keep = 1 - self.p
        kept = x.new_empty((t.shape(x)[0], *(1,) * (t.rank(x) - 1))).bernoulli_(keep)
        if self.scale_by_keep and keep > 0:
            kept = kept / keep
        return x * kept

    def mask(self, x: Shape) -> Shape:
        return x[:1]

    def numpy(self, np: Any, x: Any) -> Any:
        scale = 1 - self.p if self.scale_by_keep and self.p < 1 else 1.0
        return np.where(self.kept(np, x), x / scale, 0).astype(x.dtype)
