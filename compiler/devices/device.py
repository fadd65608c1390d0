"""What is known of a device: its units, its memories, and how fast they are at best."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

from ..dtypes import DType, size_of

_BITS = {"float64": 64, "int64": 64, "float32": 32, "int32": 32, "float16": 16, "bfloat16": 16, "int16": 16}


@dataclass(frozen=True)
class Device(ABC):
    """`bandwidth` is in bytes a second, from and to the memory that holds weights and results."""

    name: str
    bandwidth: float

    @property
    @abstractmethod
    def near(self) -> int:
        """Bytes of the memory that a kernel may keep its working buffer in."""

    @abstractmethod
    def with_near(self, bytes: int) -> Self:
        """The same device with another room for working buffers."""

    @abstractmethod
    def lanes(self, dtype: str) -> int:
        """Elements of a type, by numpy's name, that a thread works out at once."""

    @abstractmethod
    def peak(self, dtype: DType) -> float:
        """FLOP a second of multiply-adds of a float type, at best; a multiply-add is two."""

    def balance(self, dtype: DType = "f32") -> float:
        """Multiply-adds that are done while one byte comes from memory."""
        return self.peak(dtype) / 2 / self.bandwidth

    def seconds(self, flops: float, bytes: float, dtype: DType = "f32") -> float:
        """The least time of a kernel, by the roofline of Williams et al. (CACM 52(4), 2009)."""
        return max(flops / self.peak(dtype), bytes / self.bandwidth)


@dataclass(frozen=True)
class Cpu(Device):
    """`threads` run at once, each on a core whose `ports` each do a multiply-add of a vector in a cycle.

    A vector register has `vector` bytes, and there are `registers` of them. `clock` is in Hz, while vectors
    are worked on. `l1` and `l2` are the bytes of a core's caches, `l3` those of the cache that all share.
    """

    threads: int
    clock: float
    ports: int
    vector: int
    registers: int
    l1: int
    l2: int
    l3: int

    @property
    def near(self) -> int:
        """A core's own second cache."""
        return self.l2

    def with_near(self, bytes: int) -> Self:
        """With a second cache of another size."""
        return replace(self, l2=bytes)

    def lanes(self, dtype: str) -> int:
        """Elements of a type in one register; of types that are not computed in, bytes."""
        return self.vector * 8 // _BITS.get(dtype, 8)

    def peak(self, dtype: DType) -> float:
        """All ports of all threads; floats of 16 bits are computed with as f32."""
        lanes = self.vector // max(size_of(dtype), 4)
        return 2.0 * self.threads * self.ports * lanes * self.clock


@dataclass(frozen=True)
class Gpu(Device):
    """Blocks of threads run on so many `processors` (streaming multiprocessors) at once, in warps.

    `warp` threads run in step. A processor has `shared` bytes of shared memory and so many `registers` of 32
    bits; `l2` bytes of cache are for all. `arch` is nvcc's name. `peaks` are in FLOP a second by float type,
    on tensor cores where they have the type, without sparsity.
    """

    arch: str
    processors: int
    warp: int
    shared: int
    registers: int
    l2: int
    peaks: tuple[tuple[DType, float], ...]

    @property
    def near(self) -> int:
        """A processor's shared memory."""
        return self.shared

    def with_near(self, bytes: int) -> Self:
        """With shared memory of another size."""
        return replace(self, shared=bytes)

    def lanes(self, dtype: str) -> int:
        """One: threads are what is many."""
        del dtype
        return 1

    def peak(self, dtype: DType) -> float:
        """The published figure."""
        return dict(self.peaks)[dtype]
