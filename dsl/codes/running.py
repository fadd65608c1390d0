"""Codes of what is not in the text of a plan: targets, compilers and compiled files.

The backends name them; nothing in a plan causes them, so that they have no bad inputs.
"""

from __future__ import annotations

from .table import define

define(
    "E701",
    "the target is not understood",
    'A target is `cpu`, the machine that the command runs on, or the description that TVM takes, a JSON object: `{"kind": "llvm", "mcpu": "znver4", "num-cores": 8}`. Kernels are made for targets of kind `llvm` and, for NVIDIA\'s GPUs, `cuda`: `cuda` alone, or `{"kind": "cuda", "arch": "sm_90"}`.',
)
define(
    "E702",
    "LLVM knows no such CPU",
    "The `mcpu` of a target is a name that LLVM has for a CPU of that architecture. TVM itself would build for any CPU of the architecture instead, which is many times slower.",
)
define(
    "E703",
    "the features of the target contradict each other, or do not exist",
    "The `mattr` of a target lists features of the CPU to add (`+avx512f`) or to leave out (`-avx512f`). Each must exist, and must be so in the end: leaving out a feature leaves out those that need it.",
)
define(
    "E704",
    "the kernels cannot be linked",
    "An artifact holds a shared library, which the C compiler of the system links: `cc`, `gcc` or `clang`, or what the variable `CC` names. For another architecture it is a cross compiler, as `aarch64-linux-gnu-gcc`.",
)
define(
    "E705",
    "the file is no artifact of planform",
    "What `planform run` is given is neither a plan nor a file that `planform compile --to tvm` wrote.",
)
define(
    "E706",
    "the artifact is damaged",
    "The file ends early, or its content is not what its manifest says. Nothing in it was run. Copy it again, or compile it again.",
)
define(
    "E707",
    "the artifact is for another processor",
    "An artifact is for one architecture, and uses the instruction sets that its target has. This processor lacks some of them. Compile it here, or for a target that both have: `x86-64-v3` is most of today's.",
)
define(
    "E708",
    "the artifact has a newer format",
    "The file was written by a newer version of planform than this.",
)
define(
    "E709",
    "TVM is not installed",
    "Compiling to machine code needs TVM, and running it TVM's runtime: `pip install \"planform[tvm]\"`. A file `tvm.py` of one's own in the folder that Python runs in hides them; the message names it then.",
)
define(
    "E710",
    "an operator has no kernel",
    "The plan is well-formed, but this operator cannot be expressed in TVM yet. PyTorch runs it.",
)
define(
    "E711",
    "the kernels of a GPU cannot be compiled",
    "Kernels for `cuda` are made by NVIDIA's compiler, nvcc, of the CUDA toolkit: that on the path, in `$CUDA_HOME/bin`, or what the variable `NVCC` names. No GPU is needed to compile.",
)
define(
    "E712",
    "nvcc knows no such architecture",
    "The `arch` of a target of kind `cuda` is a name that nvcc has for a generation of GPUs, as `sm_80` for the A100 and `sm_90` for the H100. `nvcc --list-gpu-code` prints them.",
)
define(
    "E713",
    "there is no GPU to run on",
    "What was compiled for `cuda` runs on an NVIDIA GPU with its driver, of the architecture that it was compiled for or a later one. Compile it for `cpu`, or run it where there is one.",
)
define(
    "E714",
    "a constant is no position",
    "The plan reads or writes at positions that it writes itself, and one of them is not on the axis: positions are 0 to n - 1 on an axis of n, and negative ones do not count from the end.",
)
