"""Every way to run a program that is held against torch in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.torch import emit_source, onednn, to_deployed, to_torch
from planform.backends.tvm.codegen import link
from planform.backends.tvm.errors import BuildError
from planform.compiler.graph.program import Program
from planform.compiler.rewriting.pipeline import deploy
from support.cuda_emulation import gpu
from support.eager import in_double
from support.emitted import load
from support.random_graphs import tensors

from .drawing import weights_of
from .text import Setting

Run = Callable[[list[Tensor]], list[Tensor]]
FLOAT = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}
COMPLEX = {torch.float64: torch.complex128}


class Subject:
    """A program's text, elaborated with free sizes and bound, with weights."""

    def __init__(self, text: str, setting: Setting) -> None:
        self.text, self.setting = text, setting
        self.file = PlanFile.from_text(text, "random.plan")
        self.dtype = FLOAT[setting.dtype]
        self.sizes = setting.calls[0]
        self.program = self._program({})
        drawn = weights_of(self.program.weights, setting.seed)
        self.weights = {path: self.exact(tensor) for path, tensor in drawn.items()}

    def _program(self, sizes: Mapping[str, int]) -> Program:
        return self.file.program("net", dict(sizes), None, ("eval",))

    @cached_property
    def bound(self) -> Program:
        """At the sizes of the first call."""
        return self._program(self.sizes)

    def model(self, free: bool) -> Model:
        return Model(self.file, "net", {}, {} if free else self.sizes)

    @cached_property
    def narrow(self) -> dict[str, Tensor]:
        """The weights as the plan holds them."""
        return {
            path: tensor.to(self.held(self.program.weights[path].type.dtype, tensor))
            for path, tensor in self.weights.items()
        }

    def held(self, dtype: str, tensor: Tensor) -> torch.dtype:
        """The torch type of a value of the plan, given in float64."""
        if dtype == "float":
            return self.dtype
        if dtype == "complex":
            return COMPLEX.get(self.dtype, torch.complex64)
        known = {"c64": torch.complex64, "c128": torch.complex128}
        return FLOAT.get(dtype) or known.get(dtype) or tensor.dtype

    def exact(self, tensor: Tensor) -> Tensor:
        """A tensor of float64 whose numbers are those of the plan's floats."""
        return tensor.to(self.dtype).double() if tensor.dtype == torch.float64 else tensor

    def given(self, wide: list[Tensor]) -> list[Tensor]:
        """Inputs as the plan takes them."""
        types = [value.type.dtype for value in self.program.graph.inputs]
        return [x.to(self.held(dtype, x)) for dtype, x in zip(types, wide, strict=True)]


@contextmanager
def without_linker() -> Iterator[None]:
    """Kernels go straight into memory, which takes half of the time."""

    def missing(architecture: str) -> list[str]:
        raise BuildError("E704", "no compiler", architecture)

    with mock.patch.object(link, "compiler", missing):
        yield


def eager(subject: Subject) -> Run:
    return _called(to_torch(subject.program, dtype=subject.dtype, state_dict=subject.narrow).eval(), subject)


def optimised(subject: Subject) -> Run:
    return _deployed(subject, subject.program)


def optimised_bound(subject: Subject) -> Run:
    return _deployed(subject, subject.bound)


def _deployed(subject: Subject, program: Program) -> Run:
    around = without_onednn if subject.setting.special in ("nonfinite", "huge") else nullcontext
    return _called(to_deployed(program, subject.weights, dtype=subject.dtype), subject, around)


def without_onednn() -> Any:
    """Ordinary functions in the place of oneDNN's, whose activations do not keep NaN."""
    return mock.patch.object(onednn._Packed, "_applies", lambda self, x: False)


def emitted(subject: Subject) -> Run:
    """The source of the plan as a file."""
    module = load(emit_source(subject.program)).to(subject.dtype).eval()
    module.load_state_dict(subject.narrow, strict=False)
    return _called(module, subject)


def emitted_optimised(subject: Subject) -> Run:
    """The source of the optimised graph as a file."""
    deployed = deploy(subject.program)
    module = load(emit_source(deployed.program)).to(subject.dtype).eval()
    made = to_deployed(subject.program, subject.weights, dtype=subject.dtype, deployed=deployed)
    module.load_state_dict(made.prepare(subject.weights), strict=False)
    return _called(module, subject)


def kernels_bound(subject: Subject) -> Run:
    with without_linker():
        return _called(_compiled(subject, free=False), subject)


def kernels_free(subject: Subject) -> Run:
    with without_linker():
        return _called(_compiled(subject, free=True), subject)


def linked(subject: Subject) -> Run:
    """As a shared library, by way of object files."""
    return _called(_compiled(subject, free=False), subject)


def cuda(subject: Subject) -> Run:
    """On an emulated GPU."""
    with gpu():
        compiled = _compiled(subject, free=True, target="cuda")
    return _called(compiled, subject, gpu)


def _compiled(subject: Subject, free: bool, target: Any = None) -> Any:
    return subject.model(free).to_tvm(subject.weights, target, subject.setting.dtype, cached=False)


def _called(callee: Any, subject: Subject, around: Callable[[], Any] = nullcontext) -> Run:
    @torch.no_grad()
    def run(wide: list[Tensor]) -> list[Tensor]:
        with ExitStack() as stack:
            stack.enter_context(around())
            if subject.dtype == torch.float64:
                stack.enter_context(in_double())
            return tensors(callee(*subject.given(wide)))

    return run


# Those with sizes bound are called at the first sizes alone.
BACKENDS: dict[str, Callable[[Subject], Run]] = {
    "eager": eager,
    "deploy": optimised,
    "deploy bound": optimised_bound,
    "emitted": emitted,
    "emitted deploy": emitted_optimised,
    "tvm bound": kernels_bound,
    "tvm free": kernels_free,
    "tvm linked": linked,
    "cuda": cuda,
}
BOUND = frozenset({"deploy bound", "tvm bound", "tvm linked"})
