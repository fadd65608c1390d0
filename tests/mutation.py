"""Faults sown on purpose: what the quick tests catch when a rule, a cost, a pass, a kernel or a text goes wrong.

    python tests/mutation.py                 # all of them, each in a copy of the tree: an hour or more
    python tests/mutation.py --only cost     # those whose file or note has this text
    python tests/mutation.py --list          # what there is, and whether each still has its place
    python tests/mutation.py --tree OTHER    # with the tests of another checkout

A fault is an edit of one place. The quick tests of the files named with it run until one fails; a fault that none
sees is a hole in the tests, and the exit code says so. What catches a fault is run without it too, and must pass.
Files of tests that are not in the tree are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
_LEFT_OUT = (".venv", ".git", ".pytest_cache", ".hypothesis", ".ruff_cache", "__pycache__", "build", "dist")


class Fault(NamedTuple):
    """One place of one file made wrong; the tests (files, and what `-k` selects if anything) that ought to see it."""

    file: str
    right: str
    wrong: str
    tests: str
    select: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {' '.join(self.wrong.split())[:80]}"


FAULTS = [
    # --- shape rules
    Fault("compiler/ops/conv.py", "totals = [d * (k - 1) for", "totals = [d * k - 1 for",
          "test_ops.py", "conv"),
    Fault("compiler/ops/conv.py", "dilation[axis] * (kernel[axis] - 1) - 1", "dilation[axis] * kernel[axis] - 1",
          "test_ops.py", "conv"),
    Fault("compiler/ops/conv.py", "room // stride[axis] + 1", "(room + 1) // stride[axis] + 1", "test_ops.py", "conv"),
    Fault("compiler/ops/conv.py", 'need_at_least(size, 0, "`pad`")', 'need_at_least(size, -1, "`pad`")',
          "test_ops.py", "conv"),
    Fault("compiler/ops/matmul.py", "(*leading[:-2], *x[-2:-1], *y[-1:][: len(y) - 1])",
          "(*leading[:-2], *x[-2:-1], *y[-1:])", "test_ops.py", "matmul"),
    Fault("compiler/ops/fft.py", "if self.inverse and self.spectrum == \"full\"", "if self.spectrum == \"full\"",
          "test_te.py", "fft"),
    Fault("compiler/ops/attention.py", 'return (*leading, q[-2], k[-2])', 'return (*leading, k[-2], q[-2])',
          "test_ops.py test_attention.py", "attention"),
    Fault("compiler/ops/index.py", "(*x[:axis], count, *x[axis + 1 :])", "(*x[:axis], *x[axis + 1 :], count)",
          "test_ops.py", "index"),
    Fault("compiler/ops/core/rules.py", 'size >= least if isinstance(size, int)', 'size > least if isinstance(size, int)',
          "test_ops.py"),
    # --- sizes
    Fault("compiler/sizes/dims.py", "return -(-a // b)", "return a // b + 1", "test_dims.py"),
    Fault("compiler/sizes/algebra.py", "return low**n, high**n", "return high**n, low**n", "test_dims.py"),
    Fault("compiler/sizes/proofs.py", "verdict = self._is_nonnegative(self.normal(a - b))", "verdict = self._is_nonnegative(self.normal(b - a))",
          "test_dims.py"),
    Fault("compiler/sizes/facts.py", "g = math.gcd(c, factor)", "g = factor", "test_dims.py test_guards.py"),
    Fault("compiler/sizes/symbols.py", "if pair is None or pair[0] <= 0", "if pair is None or pair[0] < 0", "test_guards.py test_size_scalars.py test_torch_backend.py test_tvm_manifest.py"),
    Fault("compiler/sizes/guards.py", "return right != 0 and left % right == 0", "return right != 0 and right % left == 0",
          "test_guards.py test_modes.py"),
    # --- costs
    Fault("compiler/ops/conv.py", "Cost(macs=prod(out) * prod(weight[-len(x) + 1 :])", "Cost(macs=prod(out) * prod(weight[-len(x) + 2 :])",
          "test_cost.py test_examples.py"),
    Fault("compiler/ops/conv_transpose.py", "macs=prod(x) * prod(weight[1:])", "macs=prod(out) * prod(weight[1:])",
          "test_cost.py"),
    Fault("compiler/ops/softmax.py", "Cost(compare=pairs, add=elements + pairs, transcendental=elements, divide=elements)",
          "Cost(compare=pairs, add=elements + pairs, transcendental=elements, divide=pairs)", "test_cost.py"),
    Fault("compiler/ops/matmul.py", "Cost(macs=prod(out) * x[-1])", "Cost(macs=prod(out) * x[-2])", "test_cost.py"),
    Fault("compiler/cost/active.py", "size // of * (of - used)", "size // of * used", "test_cost.py parity/test_condconv.py test_examples.py"),
    Fault("compiler/cost/traffic.py", "return self.read + self.written", "return self.read", "test_cost.py test_fusion.py"),
    # --- passes
    Fault("compiler/rewriting/passes/cse.py", "return type(node.op), arguments, node.inputs, node.slots", "return type(node.op), node.inputs, node.slots",
          "test_passes.py"),
    Fault("compiler/rewriting/passes/cse.py", "or node.bodies or node.effects)", "or node.bodies)", "test_passes.py"),
    Fault("compiler/rewriting/passes/padding.py", 'pad.mode != "constant" or pad.value != 0', 'pad.mode != "constant"', "test_deploy.py test_passes.py"),
    Fault("compiler/rewriting/passes/compose_linear.py", "pads_zeros(second) and operand(first, \"bias\") is not None", "operand(first, \"bias\") is None and pads_zeros(second)",
          "test_deploy.py"),
    Fault("compiler/rewriting/passes/fold_affine.py", "if axis is not None and axis != out_axis(map)", "if axis is not None and axis < 0",
          "test_deploy.py"),
    Fault("compiler/rewriting/passes/joins.py", "plain = op.step == 1 and ", "plain = ", "test_passes.py"),
    # --- memory and fusion
    Fault("compiler/memory/offsets.py", "if start - at >= size", "if start - at > 0", "test_memory.py"),
    Fault("compiler/memory/offsets.py", "blocks[other].last >= blocks[number].first", "blocks[other].last > blocks[number].first",
          "test_memory.py"),
    Fault("compiler/memory/views.py", "return kept == sorted(kept)", "return True", "test_memory.py test_memory_values.py"),
    Fault("compiler/fusion/contract.py", "if other is not producer and self._depends(other, producer)", "if other is not producer and False",
          "test_fusion.py"),
    # --- torch: lowering, weights, guards, emitted source
    Fault("compiler/ops/attention.py", 'if self.empty == "nan" and mask is not None', 'if self.empty == "zero" and mask is not None',
          "test_ops.py test_attention.py test_algebra.py", "attention or mask"),
    Fault("backends/torch/initialise.py", "return 1 / math.sqrt(fan_in)", "return 1 / fan_in", "test_initialisers.py test_weights.py"),
    Fault("backends/torch/rename.py", "str(int(text) + int(sign + by))", "str(int(text) - int(sign + by))", "test_weights.py test_weight_tables.py"),
    Fault("backends/torch/guards.py", "return left == right if self.relation == \"==\" else left >= right", "return left == right if self.relation == \"==\" else left > right",
          "test_guards.py test_torch_backend.py test_modes.py"),
    Fault("backends/torch/emit/expressions.py", 'left = strength + 1 if strength == COMPARE else strength', "left = strength - 1", "test_emit.py"),
    Fault("backends/torch/emit/guards.py", "text if reading.factor == 1 else f\"({text} // {reading.factor})\"", "text", "test_emit.py test_guards.py"),
    # --- kernels
    Fault("backends/tvm/runtime/inputs.py", "(actual - offset) // factor", "actual // factor", "test_tvm_use.py test_tvm_manifest.py"),
    Fault("backends/tvm/runtime/inputs.py", "\">=\": a >= b", "\">=\": a > b", "test_tvm_use.py test_tvm_manifest.py test_guards.py"),
    Fault("backends/tvm/cpu/templates/tiles.py", "self.at(first, 0) >= 0 and last < self.size", "self.at(first, 0) >= 0 and last <= self.size",
          "test_tvm_convs.py test_tvm_verify.py"),
    Fault("backends/tvm/cpu/templates/tiles.py", "position * self.stride + tap * self.dilation - self.before", "position * self.stride + tap - self.before",
          "test_tvm_convs.py"),
    Fault("backends/tvm/cpu/templates/pool.py", "not 0 <= place < horizontal.size", "not 0 < place < horizontal.size", "test_tvm_convs.py"),
    Fault("backends/tvm/cpu/templates/depthwise.py", "not 0 <= place < horizontal.size", "not 0 <= place <= horizontal.size",
          "test_tvm_convs.py test_tvm_verify.py"),
    Fault("backends/tvm/cpu/templates/product.py", "if 0 <= at < horizontal.size", "if 0 <= at < horizontal.size - 1", "test_tvm_convs.py"),
    Fault("backends/tvm/cpu/reductions.py", 'one = 1 if kind == "prod" else 0', "one = 0", "test_places.py test_tvm_corners.py test_ops.py test_algebra.py test_tvm_views.py"),
    Fault("backends/tvm/cpu/reductions.py", "tile if divides(tile, extent) else loops.let(tirx.min(tile, extent - start), \"count\")",
          "tile", "test_places.py test_tvm_corners.py test_tvm_views.py test_tvm_verify.py"),
    Fault("backends/tvm/tensor_ir/math/elementary.py", "self.relu(x) + self.log1p(self.exp(self.neg(self.abs(x))))", "self.log1p(self.exp(x))",
          "test_elementary.py test_tvm_corners.py"),
    Fault("compiler/ops/softmax.py", "return t.exp(signed(index) - top[rows.of(index)])", "return t.exp(signed(index))",
          "test_places.py test_algebra.py test_tvm_views.py test_tvm_half.py"),
    # --- language: formatter, newlines, claims, documents
    Fault("dsl/format.py", "piece.line - before.line > 1", "piece.line - before.line > 2", "test_format.py test_examples.py"),
    Fault("dsl/format.py", "return frame.spread and before.type + piece.type != \"LBRACERBRACE\"", "return frame.spread", "test_format.py test_examples.py"),
    Fault("dsl/claims.py", "return abs(got - wanted) <= slack", "return abs(got - wanted) <= 2 * slack + 1", "test_language.py test_cli.py test_diagnostics.py"),
    Fault("dsl/claims.py", "got <= wanted + slack if claim.op == \"<=\"", "got < wanted + slack if claim.op == \"<=\"", "test_language.py test_diagnostics.py test_examples.py"),
    Fault("docs/cli.md", "planform explain E402", "planform explain E999", "test_docs.py"),
    Fault("examples/convnets/resnet.plan", "claim resnet18:  params == 11_689_512", "claim resnet18:  params == 11_689_513", "test_examples.py", "resnet"),
]  # fmt: skip


def places(fault: Fault, root: Path) -> int:
    """How often what is to be edited stands in its file."""
    path = root / fault.file
    return path.read_text(encoding="utf-8").count(fault.right) if path.is_file() else 0


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of the tree that Python finds as `planform`, with its tests."""
    with tempfile.TemporaryDirectory(prefix="planform-mutation-") as folder:
        tree = Path(folder) / "planform"
        shutil.copytree(root, tree, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        yield tree


def run(fault: Fault, tree: Path) -> tuple[int, str]:
    """The exit code of the tests of a fault on the tree, and their last lines."""
    files = [f"tests/{name}" for name in fault.tests.split() if (tree / "tests" / name).is_file()]
    options = [
        "-q",
        "-x",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--no-header",
        "--tb=line",
    ]
    selected = ["-k", fault.select] if fault.select else []
    # The copy comes before what is installed.
    environment = {**os.environ, "PYTHONPATH": str(tree.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *selected, *files],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, "\n".join((done.stdout + done.stderr).strip().splitlines()[-3:])


def main() -> int:
    """Sow the faults one after the other; 1 if any goes unseen or has lost its place."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="faults with this text in their file or edit")
    parser.add_argument("--list", action="store_true", help="run nothing")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout whose tests and code are taken")
    told = parser.parse_args()
    chosen = [fault for fault in FAULTS if told.only in f"{fault} {fault.tests}"]
    lost = [fault for fault in chosen if places(fault, told.tree) != 1]
    for fault in lost:
        print(f"lost    {places(fault, told.tree)} places  {fault}", flush=True)
    if told.list:
        print(f"{len(chosen) - len(lost)} of {len(chosen)} faults have their place")
        return bool(lost)
    missed: list[Fault] = []
    with copied(told.tree) as tree:

        @cache
        def passes(tests: str, select: str) -> bool:
            """Whether the tests pass on the tree as it is: all, not the first that sees a fault."""
            return run(Fault("", "", "", tests, select), tree)[0] == 0

        for fault in (each for each in chosen if each not in lost):
            path = tree / fault.file
            right = path.read_text(encoding="utf-8")
            path.write_text(right.replace(fault.right, fault.wrong), encoding="utf-8")
            start = time.monotonic()
            code, said = run(fault, tree)
            path.write_text(right, encoding="utf-8")
            seconds = time.monotonic() - start
            # A kernel that leaves its buffers ends the process.
            caught = code in (1, -6, -7, -11)
            sound = not caught or passes(fault.tests, fault.select)
            verdict = (
                "BROKEN" if not sound else "caught" if caught else "MISSED" if code == 0 else f"exit {code}"
            )
            print(f"{verdict}  {seconds:4.0f} s  {fault}", flush=True)
            if verdict != "caught":
                missed.append(fault)
                print(said, flush=True)
    print(f"{len(chosen) - len(lost) - len(missed)} of {len(chosen)} faults were caught")
    return bool(missed or lost)


if __name__ == "__main__":
    sys.exit(main())
