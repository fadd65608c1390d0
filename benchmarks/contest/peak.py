"""The peak of fused multiply-adds of this machine, by a kernel that does nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# Each thread keeps enough sums in registers to hide the latency of the units; the slowest thread counts.
SOURCE = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define DECLARE(i) vector sum##i = b * i##.0f;
#define ADD(i) sum##i = sum##i * a + b;
#define KEEP(i) kept += sum##i[0];
typedef float vector __attribute__((vector_size(BYTES)));
enum { SUMS = 12, STEPS = 1 << 21 };
static volatile float factor = 0.999f, result;
static pthread_barrier_t ready;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static void *run(void *best) {
    float f = factor;
    for (int turn = 0; turn < 40; turn++) {
        vector a = (vector){} + f, b = (vector){} + (1 - f);
        EACH(DECLARE)
        pthread_barrier_wait(&ready);
        double start = now();
        for (int step = 0; step < STEPS; step++) {
            EACH(ADD)
        }
        float kept = 0;
        EACH(KEEP)
        pthread_barrier_wait(&ready);
        double seconds = now() - start;
        result = kept;
        if (seconds < *(double *)best) *(double *)best = seconds;
    }
    return 0;
}
int main(int count, char **arguments) {
    int threads = atoi(arguments[count - 1]);
    pthread_t *ids = malloc(threads * sizeof *ids);
    double *best = malloc(threads * sizeof *best), seconds = 0;
    pthread_barrier_init(&ready, 0, threads);
    for (int i = 0; i < threads; i++) best[i] = 1e9, pthread_create(ids + i, 0, run, best + i);
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], 0);
        if (best[i] > seconds) seconds = best[i];
    }
    printf("%.6e\n", (double)threads * STEPS * SUMS * (BYTES / sizeof(float)) / seconds);
    return 0;
}
"""


def measure_peak(threads: int, folder: Path) -> float | None:
    """Multiply-adds in float32 a second, on that many threads; None without a C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    source, program = folder / "peak.c", folder / "peak"
    source.write_text(SOURCE, encoding="ascii")
    options = ["-O2", "-march=native", "-ffp-contract=fast", "-pthread"]
    try:
        subprocess.run([compiler, *options, str(source), "-o", str(program)], check=True, capture_output=True)
        done = subprocess.run([str(program), str(threads)], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError:
        return None
    return float(done.stdout)
