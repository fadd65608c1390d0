"""Positions that data gives: in range the same values on every face, and an error on every face otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from planform import Model, PlanError, PlanFile
from planform.backends.tvm.errors import BuildError, InputError
from planform.backends.tvm.runtime.compiled import load_compiled
from planform.compiler.dtypes import is_integer
from planform.compiler.ops import Op, registry
from support.cuda_emulation import gpu
from support.emitted import load
from support.faces import as_list, assert_equal, faces, model
from support.random_programs.backends import without_linker

ROWS, BATCH = 3, 2


class Reader(NamedTuple):
    """An operator that reads or writes at positions: its call, its positions, how many there may be."""

    call: str
    type: str
    shape: tuple[int, ...]
    right: Callable[[dict[str, Tensor], Tensor], Tensor]
    size: int = ROWS


def _boxes(given: dict[str, Tensor], i: Tensor) -> Tensor:
    from torchvision.ops import roi_align

    return roi_align(given["image"], i, 2, sampling_ratio=1, aligned=True)


READERS = {
    "take": Reader("take(x, {})", "i64[2, 3]", (2, 3), lambda g, i: g["x"][i]),
    "take of i32": Reader("take(x, {})", "i32[4]", (4,), lambda g, i: g["x"][i.long()]),
    "take of one": Reader("take(x, {})", "i64[]", (), lambda g, i: g["x"][i]),
    "take behind": Reader("take(y, {}, axis=-1)", "i64[2, 2]", (2, 2), lambda g, i: g["y"][..., i]),
    "index_select": Reader(
        "index_select(x, {}, axis=0)", "i64[5]", (5,), lambda g, i: g["x"].index_select(0, i)
    ),
    "gather": Reader("gather(y, {}, axis=2)", "i64[2, 1, 4]", (2, 1, 4), lambda g, i: g["y"].gather(2, i)),
    "take_along_axis": Reader(
        "take_along_axis(y, {}, axis=2)",
        "i64[2, 1, 2]",
        (2, 1, 2),
        lambda g, i: torch.take_along_dim(g["y"], i, 2),
    ),
    "take_along_axis of rows": Reader(
        "take_along_axis(z, {}, axis=1)",
        "i64[2, 2, 5]",
        (2, 2, 5),
        lambda g, i: torch.take_along_dim(g["z"], i, 1),
    ),
    "embedding_with": Reader(
        "embedding_with({}, x)", "i64[3, 1]", (3, 1), lambda g, i: F.embedding(i, g["x"])
    ),
    "scatter": Reader(
        "scatter(x, {}, source[:1], axis=0)",
        "i64[1, 4]",
        (1, 4),
        lambda g, i: g["x"].scatter(0, i, g["source"][:1]),
    ),
    "scatter_add": Reader(
        "scatter_add(x, {}, source, axis=0)",
        "i64[6, 4]",
        (6, 4),
        lambda g, i: g["x"].scatter_add(0, i, g["source"]),
    ),
    "one_hot": Reader("one_hot({}, classes=N)", "i64[2, 2]", (2, 2), lambda g, i: F.one_hot(i, ROWS)),
    "max_unpool": Reader(
        "max_unpool(z, {}, kernel=2)",
        "i64[2, N, 1]",
        (2, ROWS, 1),
        lambda g, i: F.max_unpool1d(g["z"], i, 2),
        2,
    ),
    "roi_align": Reader(
        "roi_align(image, {}, size=2, sampling_ratio=1, aligned=true)", "[2, 5]", (2, 5), _boxes, BATCH
    ),
}
DATA = "x: [N, 4], y: [2, 2, N], z: [2, N, 1], source: [6, 4], image: [B, 2, 6, 5]"
# What takes integers and no positions.
EXEMPT = {
    "expert_linear": "a choice that is no expert's gives zeros",
    "expert_linear_with": "a choice that is no expert's gives zeros",
    "batch_norm_with": "counts its batches",
    "instance_norm_with": "counts its batches",
    "embedding": "a layer over embedding_with",
}


def _name(reader: str) -> str:
    return "i_" + reader.replace(" ", "_")


def _model(readers: tuple[str, ...], free: bool) -> Any:
    inputs = ", ".join([DATA, *[f"{_name(each)}: {READERS[each].type}" for each in readers]])
    body = "; ".join(f"r{n} = {READERS[each].call.format(_name(each))}" for n, each in enumerate(readers))
    results = ", ".join(f"r{n}" for n in range(len(readers)))
    return model(f"{body}; return {results}", inputs, **({} if free else {"N": ROWS, "B": BATCH}))


@cache
def _data() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {
        "x": (ROWS, 4),
        "y": (2, 2, ROWS),
        "z": (2, ROWS, 1),
        "source": (6, 4),
        "image": (BATCH, 2, 6, 5),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _positions(reader: Reader) -> Tensor:
    """Positions that are right."""
    if reader.call.startswith("roi_align"):
        return torch.tensor([[1.0, 0.5, 1.0, 3.0, 4.5], [0.0, 1.0, 0.0, 4.0, 3.0]])
    count = max(torch.Size(reader.shape).numel(), 1)
    found = (torch.arange(count) * 2 + 1) % reader.size
    return found.reshape(reader.shape).to(torch.int32 if reader.type.startswith("i32") else torch.int64)


FACES = ("eager", "deploy", "source", "deployed source", "bound", "free", "cuda")


@cache
def _face(name: str) -> Callable[..., list[Tensor]]:
    readers = tuple(READERS)
    bound, free = _model(readers, False), _model(readers, True)
    makers: dict[str, Callable[[], Any]] = {
        "eager": lambda: free.to_torch(seed=0).eval(),
        "deploy": lambda: free.to_torch(mode="deploy", seed=0),
        "source": lambda: load(free.to_source()).eval(),
        "deployed source": lambda: load(bound.to_source("deploy")).eval(),
        "bound": lambda: bound.to_tvm(seed=0, cached=False),
        "free": lambda: free.to_tvm(seed=0, cached=False),
        "cuda": lambda: free.to_tvm(seed=0, target="cuda", cached=False),
    }
    around: Callable[[], Any] = gpu if name == "cuda" else nullcontext
    with around(), without_linker():
        made = makers[name]()

    def run(*given: Tensor) -> list[Tensor]:
        with around(), torch.no_grad():
            return as_list(made(*given))

    return run


def _call(face: str, changed: dict[str, Tensor]) -> list[Tensor]:
    positions = {name: changed.get(name, _positions(reader)) for name, reader in READERS.items()}
    return _face(face)(*_data().values(), *positions.values())


@pytest.mark.parametrize("face", FACES)
def test_positions_in_range_are_read(face: str, torchvision: Any) -> None:
    found = _call(face, {})
    for (name, reader), result in zip(READERS.items(), found, strict=True):
        wanted = reader.right(_data(), _positions(reader))
        if name == "roi_align":
            torch.testing.assert_close(result, wanted, msg=lambda text, name=name: f"{name}: {text}")
        else:
            assert_equal(result, wanted, name)


def _wrong(reader: Reader) -> Iterator[int | float]:
    yield from (-1, -reader.size, reader.size, reader.size + 5)
    if reader.type.startswith("i"):
        held = torch.iinfo(torch.int32 if reader.type.startswith("i32") else torch.int64)
        yield from (held.max, held.min)
    else:
        yield from (1e30, -1e30, float("inf"), float("nan"))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", READERS)
def test_positions_out_of_range_are_refused(name: str, face: str) -> None:
    reader = READERS[name]
    for value in _wrong(reader):
        given = _positions(reader)
        # The last one alone, so that all are looked at.
        given.view(-1)[-5 if name == "roi_align" else -1] = value
        kernels = face in ("bound", "free", "cuda")
        with pytest.raises(InputError if kernels else (IndexError, RuntimeError)) as caught:
            _call(face, {name: given})
        if kernels:
            line = 3 + list(READERS).index(name)
            said, operator = str(caught.value), reader.call.partition("(")[0].removesuffix("_with")
            place = rf"net: {operator}, at text\.plan:{line}:\d+: the position -?\d+ is not one of 0 to {reader.size - 1}$"
            assert re.match(place, said), said
            assert isinstance(value, float) or f"the position {value} " in said, said
    # Nothing is left of it.
    assert len(_call(face, {})) == len(READERS)


def test_every_operator_that_takes_integers_is_told() -> None:
    told = {reader.call.partition("(")[0] for reader in READERS.values()}
    assert told == {name for name, operator in registry().items() if hasattr(operator, "positions")}
    for name, operator in registry().items():
        slots = {len(sample.operands) for sample in operator.samples}
        integers = any(_holds_integers(each) for sample in operator.samples for each in sample.operands)
        if integers and max(slots) > 0 and getattr(operator, "role", "opaque") != "elementwise":
            plain = issubclass(operator, Op) and not operator.many() and len(operator.signature()) == 1
            assert name in told or name in EXEMPT or (plain and name != "one_hot"), name


def _holds_integers(operand: Any) -> bool:
    return (
        isinstance(operand, tuple)
        and bool(operand)
        and isinstance(operand[0], str)
        and is_integer(operand[0])
    )


def test_a_choice_that_is_no_experts_gives_zeros() -> None:
    chosen = torch.tensor([[0, -1], [3, 2], [2**63 - 1, 1], [-(2**63), 7]])
    x, weight = torch.randn(4, 2, 4), torch.randn(3, 5, 4)
    wanted = torch.zeros(4, 2, 5)
    for (n, k), expert in zip(
        torch.cartesian_prod(torch.arange(4), torch.arange(2)), chosen.flatten(), strict=True
    ):
        if 0 <= expert < 3:
            wanted[n, k] = weight[expert] @ x[n, k]
    inputs = "x: [N, 2, 4], c: i64[N, 2], w: [3, 5, 4]"
    for name, run in faces("return expert_linear_with(x, c, w)", inputs, {"N": 4}).items():
        torch.testing.assert_close(
            run(x, chosen, weight)[0], wanted, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_seeds_of_the_generator_are_positions_of_their_axis() -> None:
    x, i = torch.randn(2, 2, 3), torch.tensor([[[0, 2], [2, 1]], [[1, 1], [2, 0]]])
    runs = faces("return take_along_axis(x1, x3, axis=2)", "x1: [2, 2, S4], x3: i64[2, 2, 2]", {"S4": 3})
    for name, run in runs.items():
        assert_equal(run(x, i)[0], torch.take_along_dim(x, i, 2), name)
        with pytest.raises((InputError, RuntimeError)):
            run(x, i + 1)


def test_a_loop_refuses_positions_of_any_turn() -> None:
    text = """planform 1
block reading(i: i64[B, 1], s: [B, 4]) {
    new = gather(s, i, axis=1) + s
    return new, new
}
model loop(s: [B, 4], i: i64[B, T, 1]) {
    y, last = (i, s) -> scan(reading, axis=1, unroll=0)
    return y
}
plan net = loop()
"""
    made = Model(PlanFile.from_text(text, "loop.plan"), "net", {}, {})
    x, i = torch.randn(2, 4), torch.tensor([[0, 3, 1, 2, 2], [3, 3, 0, 1, 0]])[..., None]
    state, wanted = x, []
    for turn in range(5):
        state = state.gather(1, i[:, turn]) + state
        wanted.append(state)
    eager = made.to_torch(seed=0).eval()
    compiled = made.to_tvm(seed=0)
    with gpu():
        on_gpu = made.to_tvm(seed=0, target="cuda")
    for run, around in ((eager, nullcontext), (compiled, nullcontext), (on_gpu, gpu)):
        with around(), torch.no_grad():
            assert_equal(run(x, i), torch.stack(wanted, 1))
            for turn in (0, 2, 4):
                for wrong in (-1, 4):
                    changed = i.clone()
                    changed[1, turn] = wrong
                    with pytest.raises((InputError, RuntimeError), match=f"{wrong} "):
                        run(x, changed)


@pytest.mark.parametrize(
    "positions",
    [
        "argmax(x, axis=1)",
        "argsort(x, axis=1)",
        "sort(x, axis=1)[1]",
        "top_k(x, k=2, axis=1)[1]",
        "arange(N)",
        "arange(N - 1, -1, step=-1)",
        "clamp(i, min=0, max=3)",
        "minimum(i % 4, i % 3)",
        "i % 4",
        "reshape(i % 4, [M, 1])",
        "concat(i % 3, i % 4, axis=0)",
        "cast(x > 0.0, i64)",
        "where(i > 2, i % 4, 0)",
    ],
)
def test_what_is_in_range_by_itself_is_not_checked(positions: str) -> None:
    compiled = model(f"return take(t, {positions})", "t: [N, 2], x: [N, N], i: i64[M]", N=4, M=3).to_tvm(
        seed=0
    )
    proved = not positions.startswith("minimum")
    assert (not compiled.program.checks) == proved


@pytest.mark.parametrize(
    "positions",
    [
        "clamp(i, min=0, max=4)",
        "clamp(i, max=3)",
        "i % 5",
        "arange(N + 1)",
        "where(i > 2, i % 4, -1)",
        "cast(cast(i, i8), i64)",
    ],
)
def test_what_may_be_out_of_range_is_checked(positions: str) -> None:
    compiled = model(f"return take(t, {positions})", "t: [N, 2], x: [N, N], i: i64[M]", N=4, M=3)
    if positions == "arange(N + 1)":
        with pytest.raises(BuildError) as caught:
            compiled.to_tvm(seed=0)
        assert caught.value.code == "E714" and "position 4 is not one of 0 to 3" in str(caught.value)
        return
    assert compiled.to_tvm(seed=0).program.checks


def test_constants_are_checked_when_they_are_made_or_at_the_sizes_of_a_call() -> None:
    free = model("return take(x, tensor([0, 2]))", "x: [N, 2]").to_tvm(seed=0)
    x = torch.randn(3, 2)
    assert_equal(free(x), x[[0, 2]])
    with pytest.raises(InputError, match="position 2 is not one of 0 to 1"):
        free(x[:2])


def test_an_axis_of_0_has_no_positions() -> None:
    inputs = "x: [N, 2], i: i64[M]"
    compiled = model("return take(x[1:], i)", inputs).to_tvm(seed=0)
    eager = model("return take(x[1:], i)", inputs).to_torch(seed=0).eval()
    with pytest.raises(InputError, match="an axis of 0 has no positions"):
        compiled(torch.ones(1, 2), torch.tensor([0]))
    with pytest.raises((IndexError, RuntimeError)):
        eager(torch.ones(1, 2), torch.tensor([0]))
    inputs = "x: [N, 2], i: i64[M]"
    compiled = model("return take(x[1:], i[1:])", inputs).to_tvm(seed=0)
    for rows in (1, 3):
        assert_equal(compiled(torch.ones(rows, 2), torch.tensor([7])), torch.zeros(0, 2))


@pytest.mark.parametrize("kind", ["i8", "i16", "u8", "bool"])
def test_positions_are_i64_or_i32(kind: str) -> None:
    for call in (
        "take(x, i)",
        "gather(x, i, axis=0)",
        "embedding_with(i, x)",
        "index_select(x, i[0], axis=0)",
    ):
        with pytest.raises(PlanError, match=kind):
            model(f"return {call}", f"x: [3, 2], i: {kind}[2, 2]").program  # noqa: B018


def test_a_row_of_padding_is_a_position_like_others() -> None:
    body = "return i -> e: embedding(5, 3, padding_idx=-1)"
    made = model(body, "i: i64[M]")
    i = torch.tensor([4, 0, 4])
    for run in (made.to_torch(seed=0).eval(), made.to_tvm(seed=0)):
        with torch.no_grad():
            assert_equal(run(i)[0], torch.zeros(3))
            for wrong in (-1, 5):
                with pytest.raises((IndexError, InputError)):
                    run(torch.tensor([0, wrong]))


def test_an_artifact_checks_too(tmp_path: Path) -> None:
    body = "return take(x, i), take(x, tensor([0, 2]))"
    model(body, "x: [N, 2], i: i64[M]").to_tvm(seed=0).save(tmp_path / "made")
    loaded = load_compiled(tmp_path / "made")
    x = torch.randn(3, 2)
    assert_equal(loaded(x, torch.tensor([2]))[0], x[[2]])
    for number, size in ((3, 3), (-1, 3), (0, 2)):
        with pytest.raises(InputError, match=r"take, at text\.plan:3"):
            loaded(x[:size], torch.tensor([0, number]))
