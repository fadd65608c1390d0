"""A graph cut into kernels: which operators run together, what that saves, and why not more."""

from .blocks import Block
from .fuse import fuse
from .partition import Group, Partition, Refused, partition

__all__ = ["Block", "Group", "Partition", "Refused", "fuse", "partition"]
