"""Every operator of the registry against torch: acceptance, types, values, cost, gradients, modules.

Torch's answer is what the operator's lowering does on meta tensors, or what its independent reference does
(tests/support/references) where the lowering is composed. Meta tensors let some mistakes pass that the CPU
refuses (mixed types, say) and the other way round: where the two disagree, ours may follow either. Where a
size is zero ours may refuse what torch lets pass; an answer that we give is always torch's.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import islice
from typing import Any

import pytest
import torch

from planform.compiler.dtypes import bind, is_complex, is_float
from planform.compiler.ops import Layer, Op, Operator, registry
from planform.compiler.ops.core.base import Mode
from planform.compiler.ops.core.counts import Cost
from planform.compiler.ops.core.rules import ShapeError
from planform.compiler.ops.roi import RoiAlign
from planform.compiler.sizes.dims import Size, evaluate, free_symbols, symbol
from planform.compiler.types import TensorType
from support.eager import PLAN, TORCH, Eager, in_double, run, seed, tensors
from support.opcases import Application, argument_variants, samples, variants
from support.references import references
from support.timing import Stopwatch

pytestmark = [
    pytest.mark.filterwarnings("ignore:Initializing zero-element tensors"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
]
REGISTRY = registry()
every_operator = pytest.mark.parametrize("name", sorted(REGISTRY))
DOUBLE = {"c64": "complex", "f32": "float", "f16": "float", "bf16": "float"}
Core = tuple[Op, tuple[str, ...], tuple[TensorType, ...]]
Outcome = list[tuple[tuple[int, ...], str]]


def _rng(name: str, salt: int = 0) -> random.Random:
    return random.Random(zlib.crc32(name.encode()) + salt)


def _ours(core: Core) -> Outcome:
    op, slots, types = core
    results, _ = op.infer(types, slots)
    return [(tuple(int(size) for size in result.shape), bind(result.dtype)) for result in results]


def _torchs(core: Core, device: str) -> Outcome | None:
    """Shapes and types that torch gives; None where it refuses."""
    op, slots, types = core
    operands = tensors([(type.dtype, type.shape) for type in types], device=device)  # pyright: ignore
    seed()
    own = references().get(op.name)
    try:
        if own is None:
            results = run(op, slots, operands)
        else:
            result = op.call(own, op.arrange(slots, operands), op)
            results = [result] if isinstance(result, torch.Tensor) else list(result)
    except (
        Exception
    ):  # torch refuses in many ways: RuntimeError, IndexError, TypeError, ZeroDivisionError, ...
        return None
    return [(tuple(result.shape), PLAN[result.dtype]) for result in results]


def _verdict(application: Application) -> Outcome | None:
    """Our types; None where we refuse."""
    try:
        return _ours(application.core())
    except ShapeError:
        return None


def _same_answer(application: Application) -> str:
    """Compare acceptance and types: "accepted", "refused", or "unknown" where a layer makes no core."""
    ours = _verdict(application)
    layers = references() if issubclass(application.operator, Layer) else {}
    own = layers.get(application.operator.name)
    core: Core | None = None
    if own is None:
        try:
            core = application.core()
        except ShapeError:
            return "unknown"

    def answers(device: str) -> Outcome | None:
        return _torchs(core, device) if core else _layer_answer(own, application, device)

    meta = answers("meta")
    shapes = [type.shape for type in (core[2] if core else application.types)]
    # Torch lets some results be empty on one axis, and refuses those that are on all: reflecting pads do.
    shapes += [shape for shape, _ in meta or ()]
    empty = any(0 in shape for shape in shapes)
    if ours != meta and not (ours is None and empty):
        cpu = answers("cpu")
        assert ours == cpu, f"{application}: ours {ours}, torch's meta {meta}, its CPU {cpu}"
    return "refused" if ours is None else "accepted"


def _layer_answer(own: Any, application: Application, device: str) -> Outcome | None:
    operands = tensors([(type.dtype, type.shape) for type in application.types], device=device)  # pyright: ignore
    layer = application.instance()
    try:
        with torch.device(device):
            result = layer.call(own, layer.arrange(application.slots, operands), layer)
    except Exception:
        return None
    results = [result] if isinstance(result, torch.Tensor) else list(result)
    return [(tuple(item.shape), PLAN[item.dtype]) for item in results]


def _cost(core: Core) -> tuple[Cost, tuple[TensorType, ...]]:
    op, slots, types = core
    results, _ = op.infer(types, slots)
    shapes = [type.shape for type in results]
    several = isinstance(op.call(op.shape, op.arrange(slots, [type.shape for type in types])), list)
    out = shapes if several else shapes[0]
    return op.call(op.cost, op.arrange(slots, [type.shape for type in types]), out), results


def _counts(cost: Cost) -> dict[str, Size]:
    return {field.name: getattr(cost, field.name) for field in fields(cost)}


@every_operator
def test_has_samples_that_torch_confirms(name: str) -> None:
    operator = REGISTRY[name]
    assert operator.samples, "an operator without samples is not tested"
    for application in samples(operator):
        core = application.core()
        assert _ours(core) == _torchs(core, "meta") == _torchs(core, "cpu"), str(application)


def _check_variants(name: str, accepted: int, refused: int, most: int, salt: int) -> None:
    starts = samples(REGISTRY[name])
    for number, start in enumerate(starts):
        seen = {"accepted": 0, "refused": 0, "unknown": 0}
        share = len(starts)
        for variant in islice(variants(start, _rng(name, salt + number)), most // share + 1):
            seen[_same_answer(variant)] += 1
            if seen["accepted"] * share >= accepted and seen["refused"] * share >= refused:
                break


@every_operator
def test_accepts_what_torch_accepts(name: str) -> None:
    _check_variants(name, accepted=50, refused=20, most=160, salt=0)


@every_operator
def test_arguments_agree_with_torch(name: str) -> None:
    starts = samples(REGISTRY[name])
    for number, start in enumerate(starts):
        for variant in islice(argument_variants(start, _rng(name, number)), 40 // len(starts) + 1):
            _same_answer(variant)


@pytest.mark.slow
@every_operator
@pytest.mark.parametrize("salt", range(1, 5))
def test_accepts_what_torch_accepts_deeper(name: str, salt: int) -> None:
    _check_variants(name, accepted=400, refused=400, most=1500, salt=1000 * salt)
    starts = samples(REGISTRY[name])
    for number, start in enumerate(starts):
        rng = _rng(name, 1000 * salt + number)
        for changed in islice(argument_variants(start, rng), 30):
            for variant in islice(variants(changed, rng), 5):
                _same_answer(variant)


@every_operator
def test_cost_counts_and_reads_are_plain_and_not_negative(name: str) -> None:
    for application in samples(REGISTRY[name]):
        core = application.core()
        cost, _ = _cost(core)
        for kind, count in _counts(cost).items():
            assert isinstance(count, int) and count >= 0, f"{application}: {kind} is {count!r}"
        op, slots, types = core
        if hasattr(op, "reads"):
            read = op.call(op.reads, op.arrange(slots, [type.shape for type in types]))  # pyright: ignore
            assert set(read) <= set(slots) and all(isinstance(n, int) and n >= 0 for n in read.values())


def _symbolic(application: Application) -> Iterator[tuple[Application, int, Size]]:
    """The application with a symbol for one axis, or for all axes of one size; its size there; the symbol."""
    for number, type in enumerate(application.types):
        for axis, size in enumerate(type.shape):
            if size in (0, 1):  # broadcasting tells a 1 from a symbol
                continue
            n = symbol("n")
            shape = (*type.shape[:axis], n, *type.shape[axis + 1 :])
            types = (
                *application.types[:number],
                type._replace(shape=shape),
                *application.types[number + 1 :],
            )
            yield replace(application, types=types), size, n  # pyright: ignore
    for size in sorted({s for type in application.types for s in type.shape if s not in (0, 1)}):  # pyright: ignore
        n = symbol("n")
        types = tuple(
            type._replace(shape=tuple(n if s == size else s for s in type.shape))
            for type in application.types
        )
        yield replace(application, types=types), size, n  # pyright: ignore


def _holds(relation: str, left: int, right: int) -> bool:
    if relation == "%":
        return right != 0 and left % right == 0
    return left == right if relation == "==" else left >= right


def _bind(shape: tuple[Size, ...], value: int) -> tuple[int, ...]:
    return tuple(evaluate(size, {"n": value}) for size in shape)


def _check_symbolic(general: Application, own: int, values: tuple[int, ...]) -> bool:
    """Binding the symbol afterwards equals binding it before; whether the symbol was accepted."""
    try:
        core = general.core()
        op, slots, types = core
        results, undecided = op.infer(types, slots)
    except ShapeError:
        return False
    cost, _ = _cost(core)
    for value in (own, *values):
        if not all(
            _holds(relation, evaluate(left, {"n": value}), evaluate(right, {"n": value}))
            for relation, left, right, _ in undecided
        ):
            assert value != own, f"{general}: a guard refuses the sample itself: {undecided}"
            continue
        bound = replace(
            general, types=tuple(type._replace(shape=_bind(type.shape, value)) for type in general.types)
        )
        special = bound.core()
        assert special[1] == slots
        wanted_cost, wanted = _cost(special)
        found = tuple(type._replace(shape=_bind(type.shape, value)) for type in results)
        assert found == wanted, f"{general} at {value}"
        counts = {kind: evaluate(count, {"n": value}) for kind, count in _counts(cost).items()}
        assert counts == _counts(wanted_cost), f"{general} at {value}: {cost}"
        names = {s for type in results for size in type.shape for s in free_symbols(size)}
        assert names <= {"n"}, f"{general}: the result has symbols of unknown origin: {names}"
    return True


@every_operator
def test_symbolic_sizes_bound_later_equal_those_bound_before(name: str) -> None:
    applications = [item for item in samples(REGISTRY[name]) if any(type.shape for type in item.types)]
    with Stopwatch() as watch:
        accepted = [
            _check_symbolic(general, own, (own + 1, 2 * own, 1))
            for application in applications
            for general, own, _ in _symbolic(application)
        ]
    # The dearest take less than two: formulas of sizes stay short, or are not worked on for long.
    assert watch.seconds < 10
    assert any(accepted) or not accepted, "no axis of any sample may be symbolic"


def _operands(core: Core, seed: int = 0) -> list[torch.Tensor]:
    made = tensors([(type.dtype, type.shape) for type in core[2]], "f64", seed=seed)  # pyright: ignore
    domain: tuple[float, float] | None = getattr(core[0], "domain", None)
    if domain is not None:
        # A smooth map into the interval where the function is defined.
        low, high = domain
        made = [
            low + (high - low) * x.sigmoid() if x.is_floating_point() or x.is_complex() else x for x in made
        ]
    if isinstance(core[0], RoiAlign):
        # The samples that there are, not near to where another begins.
        x, boxes = made
        boxes[:, 0] = torch.arange(len(boxes)) % len(x) + 0.5
    return [x.abs() if slot == "running_var" else x for slot, x in zip(core[1], made, strict=True)]


def _run(core: Core, operands: list[torch.Tensor]) -> list[torch.Tensor]:
    seed()
    # Operators with state write into their operands.
    return run(core[0], core[1], [x.clone() for x in operands], "f64")


@every_operator
def test_values_equal_the_reference(name: str) -> None:
    """In float64. Without a reference the lowering is one torch call, of which only the types are checked."""
    for application in samples(REGISTRY[name]):
        core = application.core()
        op, slots, types = core
        operands = _operands(core)
        found = _run(core, operands)
        assert [tuple(x.shape) for x in found] == [shape for shape, _ in _ours(core)]
        results, _ = op.infer(types, slots)
        assert [x.dtype for x in found] == [TORCH[bind(type.dtype, "f64")] for type in results], str(
            application
        )
        own = references().get(op.name)
        if own is not None:
            seed()
            with in_double():
                wanted = op.call(own, op.arrange(slots, [x.clone() for x in operands]), op)
            wanted = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted)
            for left, right in zip(found, wanted, strict=True):
                torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10, equal_nan=True)


@every_operator
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    for application in samples(REGISTRY[name])[:3]:
        op, slots, types = application.core()
        # Finite differences need double precision, so the fixed types give way to the variables.
        types = tuple(type._replace(dtype=DOUBLE.get(type.dtype, type.dtype)) for type in types)
        core: Core = (op, slots, types)
        results, _ = op.infer(types, slots)
        if "state" in op.effects or not all(
            is_float(type.dtype) or is_complex(type.dtype) for type in results
        ):
            continue
        if getattr(op, "surrogate_gradient", False):
            continue  # it is another function's on purpose
        operands = _operands(core, seed=1)
        if sum(x.numel() for x in operands) > 2000:
            continue
        for slot, x in zip(slots, operands, strict=True):
            differentiable = x.is_floating_point() or x.is_complex()
            x.requires_grad_(differentiable and not slot.startswith("running_"))
        with torch.enable_grad():
            seed()
            outputs = run(op, slots, operands, "f64")
        live = [x for x in outputs if x.requires_grad]
        if not live:
            continue

        def function(
            *xs: torch.Tensor, op: Op = op, slots: tuple[str, ...] = slots
        ) -> tuple[torch.Tensor, ...]:
            seed()
            return tuple(x for x in run(op, slots, list(xs), "f64") if x.requires_grad)

        assert torch.autograd.gradcheck(function, operands, fast_mode=True, nondet_tol=1e-9), str(application)


@every_operator
def test_module_computes_what_the_function_computes(name: str) -> None:
    """A labelled call's torch.nn module has the layer's weights by name, and gives the same values."""
    t = Eager("f64")
    for application in samples(REGISTRY[name]):
        op, slots, types = application.core()
        if not hasattr(op, "module") or (name.endswith("_with") and issubclass(REGISTRY[name], Op)):
            continue  # weights given by hand have no labelled module: the layer's test covers it
        module = op.call(op.module, op.arrange(slots, [type.shape for type in types]), t)  # pyright: ignore
        if module is None:
            continue
        operands = _operands((op, slots, types))
        given = len(application.slots)
        weights = dict(zip(slots[given:], operands[given:], strict=True))
        module = module.double()
        module.load_state_dict(weights, strict=True)
        module.train(op.in_mode("eval") != op)
        arranged = op.arrange(slots[:given], operands[:given])
        seed()
        if hasattr(op, "call_module"):
            found = op.call(op.call_module, arranged, t, module)  # pyright: ignore
        else:
            found = module(*operands[:given])
        wanted = _run((op, slots, types), operands)
        several = [found] if isinstance(found, torch.Tensor) else list(found)
        for left, right in zip(several, wanted, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12, equal_nan=True)


@every_operator
def test_modes_keep_the_types(name: str) -> None:
    modes: tuple[Mode, ...] = ("train", "eval", "deploy")
    for application in samples(REGISTRY[name]):
        op, slots, types = application.core()
        results, _ = op.infer(types, slots)
        for mode in modes:
            moded = op.in_mode(mode)
            if moded is None:
                assert results == types[:1], f"{application} is said to be the identity in {mode}"
            else:
                assert moded.infer(types, slots)[0] == results
                assert mode == "train" or not moded.effects - {"random"}, (
                    f"{application} keeps state in {mode}"
                )


@every_operator
def test_is_documented_and_printable(name: str) -> None:
    operator: type[Operator] = REGISTRY[name]
    assert "[" in (operator.__doc__ or ""), "the docstring states shapes in brackets"
    for application in samples(operator):
        made = application.instance()
        assert str(made).startswith(made.title + "(")
        assert made == application.instance() and hash(made) == hash(application.instance())
