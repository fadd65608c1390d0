"""A module of TIR as machine code."""

from __future__ import annotations

from typing import Any

import tvm

from .driver import module_of
from .lower import Lowered
from .machine import Machine


def build(lowered: Lowered, machine: Machine) -> Any:
    """The library: TVM's runtime module with the program's functions."""
    module = module_of(lowered.program, lowered.functions)
    return tvm.tirx.build(module, target=machine.target)
