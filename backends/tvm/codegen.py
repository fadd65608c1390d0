"""From functions of TIR to machine code: only the passes that kernels without blocks need."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm.target import Target

_LOWER = (
    tirx.transform.FlattenBuffer(),
    tirx.transform.VectorizeLoop(True),
    tirx.transform.UnrollLoop(),
    tirx.transform.AnnotateEntryFunc(),
    tirx.transform.SplitHostDevice(),
    tirx.transform.MakePackedAPI(),
    tirx.transform.LowerTVMBuiltin(),
    tirx.transform.LowerIntrin(),
)


def generate(module: Any, target: Any) -> Any:
    """A runtime module for a processor.

    TVM's own order of passes looks for blocks of schedules, which these functions have none of, and moves
    buffers that are to stay in registers.
    """
    target = Target(target)
    lowered = tirx.transform.BindTarget(target.with_host(target))(module)
    lowered = tvm.ir.transform.Sequential(list(_LOWER))(lowered)
    return tvm.get_global_func(f"target.build.{target.kind.name}")(lowered, target)
