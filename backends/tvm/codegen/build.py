"""A module of TIR as machine code, and as text to read."""

from __future__ import annotations

import re
from typing import Any

from ..cpu.machine import Machine
from ..lowering.lower import Lowered
from ..runtime.program import Step
from .codegen import generate, kernel_module, module_of, target_for
from .entry_points import drivers

# Notes for debuggers.
_NOTES = r"\s*\.(loc|cfi_\w+)\b|\.Ltmp|\.Lfunc"
# The packed function around a step, and functions that TVM adds to each module.
_WRAPPERS = ("__tvm_ffi", "__tvm_set_raised", "__tvm_module", "__truncsfhf2", "__extendhfsf2")


def build(lowered: Lowered, machine: Machine) -> Any:
    """The library: TVM's runtime module with the program's functions, for this process alone."""
    target = target_for(lowered.functions.values(), machine.target)
    return generate(module_of(lowered.functions, drivers(lowered.program)), target)


def text_of(lowered: Lowered, step: Step, form: str, machine: Machine) -> str:
    """A step's kernel as `tir`, `llvm` or `asm`."""
    function = lowered.functions[step.function]
    if form == "tir":
        return function.script().strip() + "\n"
    module = kernel_module(step.function, function, machine.target)
    text = module.inspect_source("ll" if form == "llvm" else "asm")
    return "\n".join(_functions(text, form)) + "\n"


def _functions(text: str, form: str) -> list[str]:
    """The lines of the functions that are the kernel's own."""
    found: list[str] = []
    if form == "llvm":
        for whole, name in re.findall(r"^(define [^\n]*?@([\w.$]+)\(.*?^})", text, re.MULTILINE | re.DOTALL):
            if not name.startswith(_WRAPPERS):
                found.append(whole)
        return found
    for name, body in re.findall(r"^([\w.$]+):[^\n]*\n(.*?)^\.Lfunc_end\d+:", text, re.MULTILINE | re.DOTALL):
        if not name.startswith(_WRAPPERS):
            lines = [line for line in body.split("\n") if not re.match(_NOTES, line)]
            found.append("\n".join([f"{name}:", *lines]).rstrip())
    return found
