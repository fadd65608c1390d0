"""Whether programs build: many calls in one file, through every tool and every way to run it.

A batch that fails is halved until the call is known that is at fault.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planform import Model, PlanError, PlanFile
from planform.backends.torch.errors import InputError, LoweringError
from planform.backends.tvm.errors import BackendError
from planform.cli.app import run as command_line
from support.eager import tensors
from support.emitted import load
from support.pieces import Piece
from support.random_programs.backends import without_linker

# Ends that say what is wrong: anything else that is raised is a fault.
SAID = (PlanError, LoweringError, BackendError)
_OUTSIDE = re.compile(r"out of (DATA )?bounds|index out of range|ZeroDivisionError")
TOOLS = (
    *(("cost", f"--mode={mode}") for mode in ("train", "eval", "deploy")),
    ("fuse",),
    ("graph",),
    ("graph", "--format=svg", "--depth=9"),
    ("deploy",),
    ("compile",),
    ("compile", "--mode=deploy"),
    ("compile", "--emit=fx"),
    ("compile", "--emit=graph"),
)
BOUND_TOOLS = (("memory",), ("compile", "--to=tvm", "--emit=cuda", "--target=cuda"))


class Batch:
    """Calls as one file whose plan is `net`, with sizes bound or, where `free`, symbols."""

    def __init__(self, pieces: Sequence[Piece], free: bool = False) -> None:
        self.pieces = tuple(pieces)
        self.free = free
        self.sizes: dict[str, int] = {}
        given: list[str] = []
        lines: list[str] = []
        results: list[str] = []
        self.types: list[tuple[str, tuple[int, ...]]] = []
        for number, piece in enumerate(self.pieces):
            names: list[str] = []
            for dtype, shape in piece.inputs:
                names.append(f"x{len(given)}")
                sizes = ", ".join(self._size(size) for size in shape)
                given.append(f"{names[-1]}: {'' if dtype == 'float' else dtype}[{sizes}]")
                self.types.append((dtype, shape))
            made = [f"v{number}_{index}" for index in range(piece.results)]
            text = piece.text.replace("{label}", f"l{number}")
            for position, name in enumerate(names):
                text = text.replace(f"{{{position}}}", name)
            lines.append(f"    {', '.join(made)} = {text}")
            results += made
        # A model takes something.
        if not given:
            given.append("unused: [1]")
            self.types.append(("float", (1,)))
        head = f"model network({', '.join(given)}) {{"
        body = [*lines, f"    return ({', '.join(results)},)"]
        self.text = "\n".join(["planform 1", head, *body, "}", "plan net = network()", ""])
        self.file = PlanFile.from_text(self.text, "batch.plan")

    def _size(self, size: int) -> str:
        """A size as it is written: 0 is always a symbol, since inputs have none otherwise."""
        if size and (not self.free or size == 1):
            return str(size)
        known = f"S{size}" in self.sizes
        self.sizes[f"S{size}"] = size
        return f"S{size}" if size or known else "S0 >= 0"

    @cached_property
    def model(self) -> Model:
        return Model(self.file, "net", {}, {} if self.free else self.sizes)

    @cached_property
    def inputs(self) -> list[Tensor]:
        """Small numbers; whole ones are 0 and 1, or where they may divide 1 and 2."""
        divides = any(each.text.startswith(("floor_divide", "remainder")) for each in self.pieces)
        made = tensors(self.types)
        return [x if x.is_floating_point() or x.is_complex() or not divides else _whole(x) for x in made]

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return self.model.to_torch(seed=0).state_dict()


def _whole(x: Tensor) -> Tensor:
    return x if x.dtype == torch.bool else x + 1


def accepted(piece: Piece, free: bool = False) -> bool:
    """Whether the plan of the call alone is fine: both modes are elaborated; anything but a diagnostic is raised."""
    batch = Batch([piece], free)
    try:
        _ = batch.model.program
    except PlanError:
        return False
    assert all(each.severity != "error" for each in batch.file.check().diagnostics) or batch.sizes, batch.text
    return True


def tool(batch: Batch, arguments: Sequence[str]) -> None:
    """Run a command on the file; AssertionError where it does not end well, or with diagnostics."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batch.plan"
        path.write_text(batch.text, encoding="utf-8")
        at = (
            []
            if batch.free or not batch.sizes
            else ["--at", ",".join(f"{n}={s}" for n, s in batch.sizes.items())]
        )
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = command_line([arguments[0], f"{path}:net", *arguments[1:], *at])
            except SystemExit as end:
                code = end.code
        said = err.getvalue()
        assert code in (0, 1, None) and "internal error" not in said, f"{' '.join(arguments)}: {said or code}"


@torch.inference_mode()
def _called(make: Callable[[], Any], batch: Batch) -> list[Tensor] | None:
    """The results of a call; None where it is said why there are none."""
    try:
        found = make()(*[x.clone() for x in batch.inputs])
    except SAID:
        return None
    several = [found] if isinstance(found, Tensor) else list(found)
    return [each if isinstance(each, Tensor) else torch.as_tensor(each) for each in several]


def _emitted(batch: Batch, mode: str) -> Any:
    if mode == "eval":
        module = load(batch.model.to_source()).eval()
        module.load_state_dict(batch.weights)
        return module
    module = load(batch.model.to_source("deploy")).eval()
    made = batch.model.to_torch(mode="deploy", state_dict=batch.weights)
    module.load_state_dict(made.state_dict(), strict=False)
    return module


def _tvm(batch: Batch) -> Any:
    with without_linker():
        return batch.model.to_tvm(batch.weights, cached=False)


FACES: dict[str, Callable[[Batch], Any]] = {
    "deploy": lambda batch: batch.model.to_torch(mode="deploy", state_dict=batch.weights),
    "emitted": lambda batch: _emitted(batch, "eval"),
    "emitted deploy": lambda batch: _emitted(batch, "deploy"),
    "tvm": _tvm,
}


def eager(batch: Batch) -> list[Tensor]:
    """What the module in eval mode gives."""
    found = _called(lambda: batch.model.to_torch(state_dict=batch.weights).eval(), batch)
    assert found is not None, "the module refuses what the plan takes"
    return found


def trained(batch: Batch) -> None:
    """One call in train mode, where the plan has it; torch's own refusals are errors of values."""
    if "train" in batch.model.program.graphs:
        _called(lambda: batch.model.to_torch(state_dict=batch.weights).train(), batch)


def equal(found: list[Tensor], wanted: list[Tensor], batch: Batch, face: str) -> None:
    """Equal within what rounding does to small numbers."""
    names = [str(piece) for piece in batch.pieces for _ in range(piece.results)]
    assert len(found) == len(wanted)
    for name, left, right in zip(names, found, wanted, strict=True):
        assert left.dtype == right.dtype, f"{face}: {name}: {left.dtype}, not {right.dtype}"
        narrow = right.dtype in (torch.float16, torch.bfloat16)
        bound = {"rtol": 2e-2, "atol": 2e-2} if narrow or "f16" in name else {"rtol": 2e-4, "atol": 2e-5}
        torch.testing.assert_close(
            left, right, **bound, equal_nan=True, msg=lambda text, name=name: f"{face}: {name}: {text}"
        )


def whole(batch: Batch, faces: Sequence[str], tools: Sequence[Sequence[str]]) -> None:
    """All tools and faces on one batch; raises whatever goes wrong."""
    for arguments in tools:
        tool(batch, arguments)
    try:
        wanted = eager(batch)
    except InputError:
        # A guard of free sizes may ask for more than bound ones do: of nothing, that it be something.
        if batch.free and len(batch.pieces) == 1:
            return
        raise
    except (IndexError, RuntimeError) as error:
        # Positions that are none of the tensor's are torch's to refuse, at run time.
        if len(batch.pieces) == 1 and _OUTSIDE.search(str(error)):
            return
        raise
    trained(batch)
    for face in faces:
        found = _called(lambda face=face: FACES[face](batch), batch)
        if found is not None:
            equal(found, wanted, batch, face)
        else:
            assert len(batch.pieces) == 1 or face == "emitted", f"{face} refuses one of many"


def faults(
    pieces: Sequence[Piece],
    free: bool = False,
    faces: Sequence[str] = tuple(FACES),
    tools: Sequence[Sequence[str]] = (*TOOLS, *BOUND_TOOLS),
    most: int = 40,
) -> Iterator[str]:
    """What fails, call by call."""
    for start in range(0, len(pieces), most):
        yield from _halved(pieces[start : start + most], free, faces, tools)


def _halved(
    pieces: Sequence[Piece], free: bool, faces: Sequence[str], tools: Sequence[Sequence[str]]
) -> Iterator[str]:
    try:
        whole(Batch(pieces, free), faces, tools)
    except Exception as error:
        if len(pieces) == 1:
            yield f"{pieces[0]}\n    {type(error).__name__}: {str(error)[:600]}"
            return
        half = len(pieces) // 2
        yield from _halved(pieces[:half], free, faces, tools)
        yield from _halved(pieces[half:], free, faces, tools)
