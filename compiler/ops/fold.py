"""Windows of a plane as columns, and their sum."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import Size, prod
from .conv import need_window, per_axis, window_sizes
from .core.base import Elements, Lowering, Op, Shape, Sizes, case
from .core.counts import NOTHING, Cost
from .core.indexing import parted, where_all
from .core.promotion import need_category
from .core.rules import need_at_least, need_divisible, need_equal, need_positive, need_rank


class Windows(Op):
    """The arguments of windows that slide over two axes."""

    def _settings(self, t: Lowering, **arguments: Sizes) -> dict[str, Any]:
        return {
            key: tuple(t.size(size) for size in per_axis(value, 2, key)) for key, value in arguments.items()
        }

    def _each(self) -> tuple[Shape, Shape, Shape, Shape]:
        """Kernel, stride, padding and dilation, each down and across; `ShapeError` where they are none."""
        names = ("kernel", "stride", "pad", "dilation")
        kernel, stride, pad, dilation = (per_axis(getattr(self, name), 2, name) for name in names)
        need_window(kernel, stride, dilation, _pads(pad))
        return kernel, stride, pad, dilation

    def _windows(self, plane: Shape) -> Shape:
        """How many windows a plane has down and across."""
        kernel, stride, pad, dilation = self._each()
        return window_sizes(plane, kernel, stride, dilation, _pads(pad))

    def _numbers(self, t: Elements) -> list[tuple[Any, Any]]:
        """The same as numbers or expressions."""
        return [(t.size(down), t.size(across)) for down, across in self._each()]


class Unfold(Windows, name="unfold"):
    """Sliding windows as columns: [B, C, H, W] -> [B, C*kh*kw, L] with L windows; also without the batch.

    As torch.nn.functional.unfold; an axis has (S + 2*pad - dilation*(k - 1) - 1) // stride + 1 windows.
    """

    kernel: Sizes
    stride: Sizes = 1
    pad: Sizes = 0
    dilation: Sizes = 1
    role = "move"
    searches = True
    samples = (
        case({"kernel": 3}, (2, 4, 5, 6)),
        case({"kernel": (2, 3), "stride": (2, 1), "pad": 1, "dilation": 2}, (1, 2, 6, 7)),
        case({"kernel": 2, "stride": 2}, (3, 4, 6)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, 4, "unfold")
        *batch, channels, height, width = x
        for axis, size in ((-3, channels), (-2, height), (-1, width)):
            need_at_least(size, 1, f"the size of axis {axis}", ("x", axis))
        kernel, *_ = self._each()
        return (*batch, channels * prod(kernel), prod(self._windows((height, width))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        settings = self._settings(
            t, kernel_size=self.kernel, dilation=self.dilation, padding=self.pad, stride=self.stride
        )
        return t.F.unfold(x, **settings)

    def te(self, t: Elements, x: Any) -> Any:
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self._numbers(t)
        *_, channels, height, width = x.shape
        _, across = self._windows(t.node.inputs[0].shape[-2:])

        def element(*i: Any) -> Any:
            *batch, column, window = i
            c, down, right = parted(t, column, (channels, kh, kw))
            v, h = parted(t, window, (None, t.size(across)))
            row, place = t.let(v * sh + down * dh - ph), t.let(h * sw + right * dw - pw)
            inside = [] if isinstance(ph, int) and ph == 0 else [row >= 0, row < height]
            inside += [] if isinstance(pw, int) and pw == 0 else [place >= 0, place < width]
            return where_all(t, inside, lambda: x[(*batch, c, row, place)], t.const(0))

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any) -> Any:
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self._each()
        down, across = self._windows(x.shape[-2:])
        padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(ph, ph), (pw, pw)])
        columns = [
            padded[
                ..., i * dh : i * dh + sh * (down - 1) + 1 : sh, j * dw : j * dw + sw * (across - 1) + 1 : sw
            ]
            for i in range(kh)
            for j in range(kw)
        ]
        return np.stack(columns, -3).reshape(self.shape(x.shape))

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Unfold(
            **self._settings(
                t, kernel_size=self.kernel, dilation=self.dilation, padding=self.pad, stride=self.stride
            )
        )


class Fold(Windows, name="fold"):
    """Columns summed where their windows lie: [B, C*kh*kw, L] -> [B, C, H, W]; also without the batch.

    As torch.nn.functional.fold: the adjoint of unfold, where `size` is (H, W) and has L windows.
    """

    size: Sizes
    kernel: Sizes
    stride: Sizes = 1
    pad: Sizes = 0
    dilation: Sizes = 1
    role = "reduction"
    samples = (
        case({"size": (4, 5), "kernel": 2}, (2, 12, 12)),
        case({"size": (7, 8), "kernel": 3, "stride": (2, 3), "dilation": 2, "pad": (2, 1)}, (1, 18, 8)),
        case({"size": (6, 7), "kernel": (3, 2), "stride": 2, "pad": 1}, (2, 12, 12)),
        case({"size": 6, "kernel": (2, 3), "stride": 2, "pad": (0, 1)}, (1, 12, 9)),
        case({"size": (4, 4), "kernel": 2, "stride": 2}, (8, 4)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 2, 3, "fold")
        *batch, columns, count = x
        size = self._plane()
        kernel, *_ = self._each()
        for value in size:
            need_positive(value, "size")
        need_at_least(columns, 1, "the number of columns", ("x", -2))
        need_divisible(columns, prod(kernel), "the length of a column", ("x", -2), argument="kernel")
        need_equal(count, prod(self._windows(size)), "the numbers of columns and of windows", ("x", -1))
        return (*batch, columns // prod(kernel), *size)

    def _plane(self) -> Shape:
        return per_axis(self.size, 2, "size")

    def dtype(self, x: DType) -> DType:
        need_category(x, "bfc", "fold")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        # Each element is added to its place.
        return Cost(add=prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.fold(x, **self._arguments(t))

    def te(self, t: Elements, x: Any) -> Any:
        kernels, *others = self._numbers(t)
        counts = [t.size(count) for count in self._windows(self._plane())]
        down, across = (_Taps(t, *axis) for axis in zip(kernels, *others, counts, strict=True))
        (kh, kw), dtype = kernels, t.dtype()

        def element(*i: Any) -> Any:
            *batch, c, row, place, first, second = i
            (y, v, above), (z, h, beside) = down.of(row, first), across.of(place, second)

            def read() -> Any:
                return x[(*batch, (c * kh + y) * kw + z, v * counts[1] + h)]

            return where_all(t, [*above, *beside], read, t.const(0, dtype))

        if isinstance(down.most, int) and isinstance(across.most, int) and down.most == across.most == 1:
            return t.compute(t.shape(), lambda *i: element(*i, 0, 0))
        return t.reduce("any" if dtype == "bool" else "sum", t.shape(), (down.most, across.most), element)

    def numpy(self, np: Any, x: Any) -> Any:
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self._each()
        down, across = self._windows(self._plane())
        *outer, height, width = self.shape(x.shape)
        columns = x.reshape(*outer, kh, kw, down, across)
        padded = np.zeros((*outer, height + 2 * ph, width + 2 * pw), x.dtype)
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dh, i * dh + sh * (down - 1) + 1, sh)
                places = slice(j * dw, j * dw + sw * (across - 1) + 1, sw)
                padded[..., rows, places] += columns[..., i, j, :, :]
        return padded[..., ph : ph + height, pw : pw + width]

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Fold(**self._arguments(t))

    def _arguments(self, t: Lowering) -> dict[str, Any]:
        return self._settings(
            t,
            output_size=self.size,
            kernel_size=self.kernel,
            dilation=self.dilation,
            padding=self.pad,
            stride=self.stride,
        )


class _Taps:
    """Along an axis, the elements of columns that lie at a place of the plane: at most `most` of them."""

    def __init__(self, t: Elements, kernel: Any, stride: Any, pad: Any, dilation: Any, windows: Any) -> None:
        self.t = t
        self.kernel, self.stride, self.pad, self.dilation = kernel, stride, pad, dilation
        self.windows = windows
        # Elements that lie side by side: each `stride`-th of a window's is at the place.
        self.dense = isinstance(dilation, int) and dilation == 1
        self.most = t.quotient(kernel + (stride - 1), stride) if self.dense else kernel
        if self.dense and isinstance(kernel, int) and isinstance(stride, int):
            self.most = -(-kernel // stride)

    def of(self, place: Any, number: Any) -> tuple[Any, Any, list[Any]]:
        """Of the element of that number: its position in its window, the window, and what must hold.

        Remainders are written as differences: TVM 0.27 joins `% s` with what stands around it wrongly.
        """
        t, stride = self.t, self.stride
        if self.dense:
            row = t.let(place + self.pad)
            window = t.let(t.quotient(row, stride) - number)
            at = t.let(row - window * stride)
            whole = isinstance(self.kernel, int) and isinstance(stride, int) and self.kernel % stride == 0
            return at, window, [*([] if whole else [at < self.kernel]), window >= 0, window < self.windows]
        left = t.let(place + self.pad - number * self.dilation)
        if isinstance(stride, int) and stride == 1:
            return number, left, [left >= 0, left < self.windows]
        window = t.let(t.quotient(left, stride))
        return number, window, [left >= 0, window * stride >= left, window < self.windows]


def _pads(pad: Shape) -> tuple[tuple[Size, Size], ...]:
    return tuple((p, p) for p in pad)
