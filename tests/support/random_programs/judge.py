"""A program in every backend against torch in float64, within what rounding can do to it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from planform import PlanError
from planform.backends.torch import InputError
from planform.backends.torch.errors import LoweringError

from .backends import BACKENDS, BOUND, Run, Subject
from .drawing import inputs_of
from .reference import Evaluator
from .text import setting_of
from .training import training

# How much further than eager torch, and than graphs rounded by chance, a backend may be from float64.
_SLACK = 12
_SAMPLES = 3
SOURCES = ("emitted", "emitted deploy", "train")
QUICK = ("eager", "deploy", "emitted", "tvm bound", "tvm free")


class Refused(Exception):
    """The program is not one: it does not check, or torch itself does not run it."""


@dataclass(frozen=True)
class Failure:
    """What went wrong in a backend; `kind` is the same for failures of one cause, as far as that shows."""

    backend: str
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.kind}: {self.detail}"


@dataclass(frozen=True)
class Expected:
    """A call: its inputs, the right results, and for each how far off an element may be (NaN: any).

    `alone` is the same without what eager torch is off, for eager torch itself: it may be wrong in places, where
    numbers vanish in float32, but not in most.
    """

    inputs: list[Tensor]
    results: list[Tensor]
    allowed: list[Tensor]
    alone: list[Tensor]


def failures(text: str, backends: Sequence[str] = QUICK) -> Iterator[Failure]:
    """All failures of a program's text. Raises `Refused`."""
    setting = setting_of(text)
    try:
        subject = Subject(text, setting)
    except PlanError as error:
        raise Refused(error.diagnostics[0].message) from error
    made: list[Run] = []
    failure = attempt("eager", lambda: made.append(BACKENDS["eager"](subject)))
    if failure is not None:
        yield failure
        return
    free, refused = expectations(subject, made[0])
    for name in backends:
        if name == "tvm free" and not subject.sizes:
            continue
        # Source is written for float32.
        if name in SOURCES and subject.dtype != torch.float32:
            continue
        if name == "train":
            failure = attempt(name, lambda: _trained(subject))
            if failure is not None:
                yield failure
            continue
        # Those with sizes bound are called at the first sizes, twice.
        given = (free[:2], []) if name in BOUND else (free, refused)
        failure = attempt(name, lambda name=name, given=given: _judge(name, subject, *given))
        if failure is not None:
            yield failure


def attempt(backend: str, judge: Callable[[], Failure | None]) -> Failure | None:
    """What `judge` says; an exception is a failure of its own kind."""
    try:
        return judge()
    except LoweringError as error:
        # Torch alone cannot say every plan; which those are is told by the message.
        return (
            None if "written out" in str(error) or "write them out" in str(error) else _raised(backend, error)
        )
    except PlanError as error:
        message = error.diagnostics[0].message
        return Failure(backend, f"PlanError {_kind(message)}", message)
    except Exception as error:
        return _raised(backend, error)


def _raised(backend: str, error: Exception) -> Failure:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename.rpartition('/')[2]}:{last.name}"
    said = (str(error).strip().splitlines() or [""])[-1]
    trace = "".join(traceback.format_exception(error)[-6:])
    return Failure(backend, f"{type(error).__name__} in {where} {_kind(said)[:80]}", trace)


def expectations(subject: Subject, eager: Run) -> tuple[list[Expected], list[list[Tensor]]]:
    """What is right for each call, and the inputs of those that a guard of the plan refuses.

    Calls that torch does not make are left out. Raises `Refused` where it makes none.
    """
    evaluate = Evaluator(subject.program.graph, subject.program.weights, subject.weights)
    found: list[Expected] = []
    refused: list[list[Tensor]] = []
    special = subject.setting.special
    # Where numbers are huge, so are those near them: each is held by itself, and overflows as the type does.
    huge = special == "huge"
    for number, sizes in enumerate(subject.setting.calls):
        # The first sizes are called twice, with other numbers.
        for again in (0, 1) if number == 0 else (0,):
            seed = subject.setting.seed + 1000 * number + 77 * again
            try:
                drawn = inputs_of(subject.program.graph, sizes, seed, subject.setting.below, special)
                inputs = [subject.exact(x) for x in drawn]
                near = [eager(inputs)]
                if special:
                    # By the layout torch chooses another way.
                    near.append(eager([strided(x) for x in inputs]))
                trace = evaluate.trace(inputs, torch.finfo(subject.dtype).max if huge else None)
            except (InputError, RuntimeError, IndexError, ValueError, ZeroDivisionError) as error:
                if number == 0:
                    raise Refused(f"torch: {error}") from error
                if isinstance(error, InputError):
                    refused.append(inputs)
                continue
            # In float64 nothing is left to round: it is told from float32 what rounding does, in proportion.
            kind = torch.float32 if subject.dtype == torch.float64 else subject.dtype
            moved = [trace.rounded(kind, sample) for sample in range(_SAMPLES)]
            scale = _scale(subject.dtype)
            shaken = list(trace.shaken(_SLACK * scale))
            allowed: list[Tensor] = []
            alone: list[Tensor] = []
            for place, right in enumerate(trace.results):
                others = [each[place] for each in moved]
                turned = [each[place] for each in shaken]
                bound = _allowed(right, others, subject.dtype, huge)
                open = _elsewhere(right, turned, bound)
                alone.append(torch.where(open, float("nan"), _SLACK * bound))
                # Where a choice is open, eager torch tells nothing.
                aside = open.any(-1) if right.is_complex() else open
                seen = [torch.where(aside, right, each[place].to(right.dtype)) for each in near]
                bound = _allowed(right, [*seen, *others], subject.dtype, huge)
                allowed.append(torch.where(open, float("nan"), bound))
            found.append(Expected(inputs, trace.results, allowed, alone))
    return found, refused


def _scale(dtype: torch.dtype) -> float:
    """What to multiply errors by: those of float64 are told from float32."""
    return 4 * torch.finfo(dtype).eps / torch.finfo(torch.float32).eps if dtype == torch.float64 else 1.0


def _elsewhere(right: Tensor, others: list[Tensor], bound: Tensor) -> Tensor:
    """Where one of the others is further off than rounding takes it."""
    if right.is_complex():
        right, *others = (torch.view_as_real(x.resolve_conj()) for x in (right, *others))
    found = torch.zeros(right.shape, dtype=torch.bool)
    for x in others:
        same = (x == right) | (x.isnan() & right.isnan()) | ((x.double() - right.double()).abs() <= bound)
        found |= ~same
    return found


def _allowed(right: Tensor, others: list[Tensor], dtype: torch.dtype, each: bool = False) -> Tensor:
    """How far off elements may be: by how far those are that only round, or `each` by itself; NaN where they jump."""
    shape = right.shape
    if right.is_complex():
        right, *others = (torch.view_as_real(x.resolve_conj().to(torch.complex128)) for x in (right, *others))
    if not right.is_floating_point():
        alike = torch.stack([x == right for x in others]).all(0)
        return torch.where(alike, 0.0, float("nan")).double()
    right, *others = (x.double() for x in (right, *others))
    finite = torch.stack([x.isfinite() for x in (right, *others)]).all(0)
    same = torch.stack([(x == right) | (x.isnan() & right.isnan()) for x in others]).all(0)
    apart = torch.stack([(x - right).abs() for x in others]).amax(0) * _scale(dtype)
    if not finite.any():
        return torch.where(same, 0.0, float("nan")).double()
    scale = right[finite].abs().max()
    most = _SLACK * apart[finite].max() + 4 * torch.finfo(dtype).eps * scale + torch.finfo(dtype).tiny
    if each:
        most = torch.minimum(4 * _SLACK * (apart + torch.finfo(dtype).eps * right.abs()), most)
        most = most + torch.finfo(dtype).tiny
    # An element that is not finite is so everywhere, or may be anything.
    return torch.where(finite, most, torch.where(same, 0.0, float("nan"))).reshape(
        (*shape, 2) if right.dim() > len(shape) else shape
    )


def _trained(subject: Subject) -> Failure | None:
    said = training(subject)
    return None if said is None else Failure("train", "differs", said)


def _judge(
    backend: str, subject: Subject, calls: Sequence[Expected], refused: Sequence[list[Tensor]]
) -> Failure | None:
    run = BACKENDS[backend](subject)
    for inputs in refused:
        try:
            run([x.clone() for x in inputs])
        except Exception:  # each backend has its own way to refuse
            continue
        return Failure(backend, "takes what a guard refuses", str([tuple(x.shape) for x in inputs]))
    first: list[Tensor] | None = None
    for number, call in enumerate(calls):
        # Every other call is given tensors that do not lie row by row.
        given = [strided(x) if number % 2 else x.clone() for x in call.inputs]
        found = run(given)
        if any(not _equal(x, y) for x, y in zip(given, call.inputs, strict=True)):
            return Failure(backend, "writes to an input", f"call {number}")
        first = [x.clone() for x in found] if first is None else first
        allowed = call.alone if backend == "eager" else call.allowed
        failure = compare(backend, found, call.results, allowed, f"call {number}")
        if failure is not None:
            return failure
    assert first is not None
    again = run([x.clone() for x in calls[0].inputs])
    if any(not _equal(x, y) for x, y in zip(first, again, strict=True)):
        return Failure(backend, "changes from call to call", "the first call made again")
    return None


def compare(
    backend: str, found: list[Tensor], results: list[Tensor], bounds: list[Tensor], where: str
) -> Failure | None:
    """Whether results are right."""
    if len(found) != len(results):
        return Failure(backend, "another number of results", f"{len(found)} for {len(results)}")
    for number, (x, right, allowed) in enumerate(zip(found, results, bounds, strict=True)):
        place = f"{where}, result {number}"
        if x.shape != right.shape:
            return Failure(backend, "another shape", f"{place}: {tuple(x.shape)} for {tuple(right.shape)}")
        if x.is_complex() != right.is_complex() or x.is_floating_point() != right.is_floating_point():
            return Failure(backend, "another type", f"{place}: {x.dtype} for {right.dtype}")
        if right.is_complex():
            x, right = (torch.view_as_real(y.resolve_conj().to(torch.complex128)) for y in (x, right))
        x, right = x.double(), right.double()
        same = (x == right) | (x.isnan() & right.isnan()) | allowed.isnan()
        wrong = ~(same | ((x - right).abs() <= allowed))
        if wrong.any() and (backend != "eager" or wrong.double().mean() > 0.5):
            at = tuple(wrong.nonzero()[0].tolist())
            detail = (
                f"{place}: {int(wrong.sum())} of {wrong.numel()} wrong; at {list(at)} {x[at]:.9g} for "
                f"{right[at]:.9g}, allowed {allowed[at]:.3g}"
            )
            return Failure(backend, "differs", detail)
    return None


def strided(x: Tensor) -> Tensor:
    """The tensor with its axes the other way round in memory."""
    axes = tuple(reversed(range(x.dim())))
    return x.permute(axes).contiguous().permute(axes)


def _equal(x: Tensor, y: Tensor) -> bool:
    if x.is_complex():
        x, y = (torch.view_as_real(z.resolve_conj()) for z in (x, y))
    return torch.equal(x, y) or bool(((x == y) | (x.isnan() & y.isnan())).all())


def _kind(message: str) -> str:
    return re.sub(r"\d+|`[^`]*`|'[^']*'", "_", message)
