"""What a graph runs on: processors and GPUs as data."""

from .device import Cpu, Device, Gpu
from .table import DEVICES, ZEN4

__all__ = ["DEVICES", "ZEN4", "Cpu", "Device", "Gpu"]
