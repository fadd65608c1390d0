"""Graphs made by hand for tests, as elaborating a plan would make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Graph, Origin, Region, Value, Weight
from planform.compiler.ops import Layer, registry
from planform.compiler.sizes.dims import Size
from planform.compiler.types import TensorType


class Net:
    """A builder that calls operators by their names, inside blocks, and makes their weights."""

    def __init__(self, name: str) -> None:
        self.builder = Builder(name)
        self.region: Region | None = None

    def input(self, name: str, *shape: Size, dtype: str = "float") -> Value:
        """An input of the program."""
        return self.builder.input(name, TensorType(shape, dtype))

    @contextmanager
    def block(self, name: str, label: str = "") -> Iterator[None]:
        """What is called inside belongs to a call of that block."""
        outer = self.region
        self.region = Region(name, self._path(label) or (outer.path if outer else ""), outer)
        yield
        self.region = outer

    def weight(self, label: str, *shape: int, trainable: bool = True, kind: str = "param") -> Value:
        """A weight made or read by path."""
        from planform.compiler.ops.core.init import zeros

        return self.builder.weight(Weight(self._path(label), TensorType(shape), zeros(), kind, trainable))

    def call(self, name: str, *inputs: Value, label: str = "", path: str = "", **arguments: Any) -> Value:
        """Apply an operator; `path` is a whole path (to share weights), `label` one inside the block."""
        path = path or self._path(label)
        operator: Any = registry()[name](**arguments)
        operands, slots = list(inputs), _slots(operator, len(inputs))
        if isinstance(operator, Layer):
            shapes = [value.shape for value in inputs]
            for slot, spec in operator.weights(*shapes).items():
                trainable = spec.kind == "param"
                weight = Weight(
                    f"{path}.{slot}", TensorType(spec.shape, spec.dtype), spec.init, spec.kind, trainable
                )
                operands.append(self.builder.weight(weight))
                slots.append(slot)
            operator = operator.core(*shapes)
        node = self.builder.add(operator, operands, tuple(slots), path or None, Origin("test", self.region))
        return node.results[0]

    def freeze(self, *results: Value) -> Graph:
        """The finished graph."""
        return self.builder.freeze(results[0] if len(results) == 1 else results)

    def _path(self, label: str) -> str:
        return f"{self.region.path}.{label}" if self.region and self.region.path and label else label


def _slots(operator: Any, count: int) -> list[str]:
    names: list[str] = []
    for operand in operator.signature():
        if operand.arity == "many":
            return names + [operand.name] * (count - len(names))
        names.append(operand.name)
    return names[:count]


def resnet(
    depths: Sequence[int] = (3, 4, 6, 3),
    batch: Size = 1,
    height: Size = 224,
    width: Size = 224,
    classes: int = 1000,
) -> Graph:
    """ResNet with bottlenecks (arXiv:1512.03385, table 1), with torchvision's names; by default the 50."""
    net = Net("resnet")
    image = net.input("image", batch, 3, height, width)

    def conv_bn(x: Value, number: int, out: int, kernel: int, **arguments: Any) -> Value:
        x = net.call("conv", x, label=f"conv{number}", out=out, kernel=kernel, **arguments)
        return net.call("batch_norm", x, label=f"bn{number}")

    def bottleneck(x: Value, inner: int, stride: int) -> Value:
        y = net.call("relu", conv_bn(x, 1, inner, 1))
        y = net.call("relu", conv_bn(y, 2, inner, 3, stride=stride, pad=1))
        y = conv_bn(y, 3, 4 * inner, 1)
        if stride != 1 or x.shape[1] != 4 * inner:
            x = net.call("conv", x, label="downsample.0", out=4 * inner, kernel=1, stride=stride)
            x = net.call("batch_norm", x, label="downsample.1")
        return net.call("relu", net.call("add", y, x))

    x = net.call("relu", conv_bn(image, 1, 64, 7, stride=2, pad=3))
    x = net.call("max_pool", x, kernel=3, stride=2, pad=1)
    for i, depth in enumerate(depths):
        for j in range(depth):
            with net.block("bottleneck", f"layer{i + 1}.{j}"):
                x = bottleneck(x, 64 * 2**i, 2 if i > 0 and j == 0 else 1)
    x = net.call("global_avg_pool", x)
    return net.freeze(net.call("linear", x, label="fc", out=classes))
