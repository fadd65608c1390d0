"""Devices by name, and where their numbers are from."""

from __future__ import annotations

from .device import Cpu, Device, Gpu

_K, _M = 1 << 10, 1 << 20

# Measured on two cores of a Zen 4 server with AVX-512: products that stay in registers run at 117 GFLOP/s a
# core (a vector of 64 bytes is two halves, so one multiply-add a cycle), memory is read at 52 GB/s. Caches:
# AMD, "Software Optimization Guide for the AMD Zen4 Microarchitecture" (57647), section 2.6.
ZEN4 = Cpu("zen4", 52e9, 2, 234e9 / 64, 1, 64, 32, 32 * _K, _M, 32 * _M)

# Intel's product page of the Xeon Platinum 8380: 40 cores, 2.3 GHz (base), two AVX-512 units, 60 MB, eight
# channels of DDR4-3200. Caches of a core: Intel's optimization manual (248966), Ice Lake.
ICELAKE = Cpu("xeon-8380", 204.8e9, 40, 2.3e9, 2, 64, 32, 48 * _K, 1280 * _K, 60 * _M)

# AWS Graviton3: 64 Neoverse V1 at 2.6 GHz, eight channels of DDR5-4800. Arm, "Neoverse V1 Software
# Optimization Guide": four pipes of 128 bits for Advanced SIMD.
GRAVITON3 = Cpu("graviton3", 307.2e9, 64, 2.6e9, 4, 16, 32, 64 * _K, _M, 32 * _M)


def _gpu(name: str, arch: str, processors: int, bandwidth: float, shared: int, l2: int, *tera: float) -> Gpu:
    """A GPU by its TFLOP/s of f64, f32 and of floats of 16 bits."""
    peaks = tuple(
        zip(("f64", "f32", "f16", "bf16"), (each * 1e12 for each in (*tera, tera[-1])), strict=True)
    )
    return Gpu(name, bandwidth, arch, processors, 32, shared * _K, 64 * _K, l2 * _M, peaks)


# Published figures, none measured here: NVIDIA's data sheets of each, of Blackwell its announcements, and for
# shared memory and L2 the white papers and tuning guides of the architectures. f32 is that of plain cores (no
# TF32); T4 and V100 have no bf16, and do it as f16 at best.
V100 = _gpu("v100", "sm_70", 80, 900e9, 96, 6, 7.8, 15.7, 125)
T4 = _gpu("t4", "sm_75", 40, 320e9, 64, 4, 0.25, 8.1, 65)
A100 = _gpu("a100", "sm_80", 108, 2039e9, 164, 40, 9.7, 19.5, 312)
H100 = _gpu("h100", "sm_90", 132, 3350e9, 228, 50, 34, 67, 989)
H200 = _gpu("h200", "sm_90", 132, 4800e9, 228, 50, 34, 67, 989)
B200 = _gpu("b200", "sm_100", 148, 8000e9, 228, 126, 37, 75, 2250)
B300 = _gpu("b300", "sm_103", 148, 8000e9, 228, 126, 1.25, 75, 2250)

DEVICES: dict[str, Device] = {
    device.name: device for device in (ZEN4, ICELAKE, GRAVITON3, V100, T4, A100, H100, H200, B200, B300)
}

# By LLVM's names of processors; what is not told by the system or by LLVM is taken from these.
_BY_MCPU = {"znver4": ZEN4, "icelake-server": ICELAKE, "neoverse-v1": GRAVITON3}


def cpu_like(mcpu: str) -> Cpu:
    """A processor by LLVM's name, Zen 4 for those that are not in the table."""
    return _BY_MCPU.get(mcpu, ZEN4)


def gpu_like(arch: str) -> Gpu:
    """The smallest GPU of an architecture in the table; V100 for those of which there is none."""
    return next((each for each in (T4, A100, H100, B200, B300) if each.arch == arch), V100)
