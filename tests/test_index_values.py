"""Positions that data gives: in range the same values on every face, and an error on every face otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from planform import PlanError
from planform.backends.torch import InputError as TorchInputError
from planform.backends.tvm.compiled import load_compiled
from planform.backends.tvm.errors import BuildError, InputError
from planform.compiler.dtypes import is_bool, is_integer
from planform.compiler.ops import registry
from support.cuda_emulation import gpu
from support.emitted import load
from support.faces import as_list, assert_equal, model
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

    return roi_align(given["image"], i, 2, sampling_ratio=2)


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
    "embedding_with": Reader("embedding_with({}, x)", "i64[3, 1]", (3, 1), lambda g, i: F.embedding(i, g["x"])),
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
    "roi_align": Reader("roi_align(image, {}, size=2)", "[2, 5]", (2, 5), _boxes, BATCH),
}
DATA = "x: [N, 4], y: [2, 2, N], z: [2, N, 1], source: [6, 4], image: [B, 2, 6, 5]"
# What reads no memory by the integers that it is given.
NO_POSITIONS = {
    "expert_linear": "a choice that is no expert's gives zeros",
    "expert_linear_with": "the same",
    "nms": "takes boxes, and makes positions",
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
    shapes = {"x": (ROWS, 4), "y": (2, 2, ROWS), "z": (2, ROWS, 1), "source": (6, 4), "image": (BATCH, 2, 6, 5)}
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
    kind = reader.type.partition("[")[0]
    yield from (-1, -reader.size, reader.size, reader.size + 5)
    if kind:
        yield from (torch.iinfo(getattr(torch, f"int{kind[1:]}")).max, torch.iinfo(getattr(torch, f"int{kind[1:]}")).min)
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
        refused = (InputError,) if face in ("bound", "free", "cuda") else (IndexError, RuntimeError)
        with pytest.raises(refused) as caught:
            _call(face, {name: given})
        if refused == (InputError,) and value == value and abs(value) < 1e20:
            said = str(caught.value)
            title = name.partition(" ")[0].removesuffix("_with")
            assert f"net: {title}" in said.replace("embedding", title, 1) and f"position {value} " in said, said
            assert ".plan:" in said and f"0 to {2 * ROWS - 1 if False else reader.size - 1}" in said, said
    # Nothing is left of it.
    assert len(_call(face, {})) == len(READERS)


def test_every_operator_that_takes_integers_beside_numbers_is_told() -> None:
    told = {READERS[name].call.partition("(")[0] for name in READERS} | {"embedding"}
    declared = {name for name, operator in registry().items() if hasattr(operator, "positions")}
    assert declared == told - {"embedding"}
    for name, operator in registry().items():
        kinds = [
            [operand[0] if isinstance(operand, tuple) and operand and isinstance(operand[0], str) else "float"]
            for sample in operator.samples
            for operand in sample.operands
        ]
        flat = [kind for kind, in kinds]
        mixed = any(is_integer(kind) and not is_bool(kind) for kind in flat)
        role = getattr(operator, "role", "layer")
        if mixed and role in ("move", "opaque", "layer", "contraction") and name not in told:
            plain = getattr(operator, "compute", None) is not None
            assert name in NO_POSITIONS or plain or name in _EXEMPT, name
