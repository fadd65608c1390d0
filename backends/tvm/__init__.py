"""Plans as kernels that TVM compiles.

Importing this loads neither TVM nor torch. `TVM_NUM_THREADS`, or else `OMP_NUM_THREADS`, chooses the number
of threads of a call, if it is set before this is imported; without either all cores that the process may use
are used.
"""

from __future__ import annotations

import os

from .runtime.host import cores

# TVM takes half of the cores, and pins threads to them, unless it is told otherwise before it starts.
os.environ.setdefault("TVM_NUM_THREADS", os.environ.get("OMP_NUM_THREADS") or str(cores()))
os.environ.setdefault("TVM_BIND_THREADS", "0")
