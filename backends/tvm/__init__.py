"""Plans as kernels that TVM compiles.

Set `TVM_NUM_THREADS` before TVM is imported to choose the number of threads; without it all cores are used.
"""

from __future__ import annotations

import os

# TVM takes half of the cores, and pins threads to them, unless it is told otherwise before it starts.
os.environ.setdefault("TVM_NUM_THREADS", str(len(os.sched_getaffinity(0))))
os.environ.setdefault("TVM_BIND_THREADS", "0")
