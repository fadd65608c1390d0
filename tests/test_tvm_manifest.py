"""Manifests that are wrong, though all digests are right: refused before anything is loaded, or harmless."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planform
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.errors import ArtifactError
from planform.backends.tvm.runtime import artifact as artifacts
from planform.backends.tvm.runtime import schema
from planform.backends.tvm.runtime.inputs import InputError, symbols_of
from planform.backends.tvm.runtime.program import Program
from planform.backends.tvm.runtime.verify_program import ProgramError, check_sizes, signature, verify
from support.compiled import model

# Free sizes and records; a recurrence; a sort, which numpy runs; sizes that are known, with an arena.
MORE = """planform 1
block step(x: [B, 4], h: [B, 4]) {
    new = tanh((x -> i: linear(4)) + (h -> r: linear(4)))
    return new, new
}
model turns(x: [B, T, 4]) {
    ys, last = scan(x, zeros([B, 4]), step(), axis=1, unroll=2)
    return ys
}
model sorted_(x: [B, 8]) {
    ordered, places = sort(x -> fc: linear(8), axis=1)
    return ordered -> relu()
}
model net(x: [2, 3, 8, 8]) {
    y = x -> a: conv(8, 3, pad=1) -> relu()
    z = y -> b: conv(8, 3, pad=1) -> relu() -> c: conv(8, 3, pad=1)
    return {sum = z + y, parts = (mean(z, axis=[2, 3]), [y])}
}
plan recurrent = turns()
plan ordered = sorted_()
plan known = net()
"""
PLANS = ["small", "two", "recurrent", "ordered", "known"]


def plan(name: str) -> Model:
    if name in ("small", "two"):
        return model(name)
    return Model(PlanFile.from_text(MORE, "more.plan"), name, {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("artifacts")
    for name in PLANS:
        plan(name).to_tvm(seed=0).save(folder / f"{name}.plank")
    return {name: folder / f"{name}.plank" for name in PLANS}


def manifest_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(artifacts.MANIFEST))


def with_manifest(path: Path, manifest: Any, to: Path) -> Path:
    """The artifact with another manifest, and the digest of that."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = json.dumps(manifest).encode()
    members[artifacts.MANIFEST] = text
    members[artifacts.DIGEST] = f"{hashlib.sha256(text).hexdigest()}  {artifacts.MANIFEST}\n".encode()
    to.write_bytes(artifacts._zipped(members))
    return to


# ---------------------------------------------------------------- mutations

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 2**31, 2**40, 2**62, 2**63, -(2**63), 10**30, 0.5, 1e300,
    "", "x", "B", "turn", "arena", "output", "weight", "input", "float32", "float64", "bfloat16", "object",
    [], [0], [1, 2], ["add", 1], ["mul", "B", 2**40], ["floordiv", 1, 0], ["pow", 10, 10**9], ["mod", 3, "B"],
    {}, {"leaf": 0}, {"leaf": -1}, {"size": "B"}, {"tuple": []}, [[[[]]]], "kernel_0", "copy", "sort",
]  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


def mutated(manifest: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A manifest with one or two parts replaced, exchanged, doubled or left out."""
    found = copy.deepcopy(manifest)
    for _ in range(rng.choice([1, 1, 2])):
        known = list(places(found))
        *way, key = rng.choice(known)
        holder: Any = found
        for each in way:
            holder = holder[each]
        kind = rng.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif kind == 2:
            *others, last = rng.choice(known)
            source: Any = found
            for each in others:
                source = source[each]
            holder[key] = copy.deepcopy(source[last])
        elif kind == 3 and type(holder[key]) is int:
            holder[key] += rng.choice([-64, -1, 1, 64])
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return found


def judged(manifest: Any) -> Program | None:
    """The program of a manifest that is believed, None where it is refused; raises what is a fault of ours."""
    try:
        schema.check(manifest)
        program = Program.from_dict(manifest["program"])
        verify(program)
    except (schema.SchemaError, ProgramError) as error:
        assert str(error)
        return None
    return program


def calls(program: Program) -> None:
    """What a believed program does with inputs of several sizes before kernels run ends well, or in an `InputError`."""
    for size in (0, 1, 3):
        shapes = [[each if isinstance(each, int) else size for each in port.shape] for port in program.inputs]
        if any(
            np.prod([float(each) for each in shape]) > 1e6 or min(shape, default=0) < 0 for shape in shapes
        ):
            continue
        types = [np.uint16 if port.dtype == "bfloat16" else port.dtype for port in program.inputs]
        arrays = [np.zeros(shape, type) for shape, type in zip(shapes, types, strict=True)]
        try:
            symbols = symbols_of(program, arrays)
        except InputError:
            continue
        assert check_sizes(program, symbols) is None


def sweep(path: Path, seed: int, count: int) -> tuple[int, int]:
    """So many mutated manifests through schema, verifier and signature; how many were refused, and believed."""
    manifest = manifest_of(path)
    before = signature(Program.from_dict(manifest["program"]))
    refused = believed = 0
    for number in range(count):
        changed = mutated(manifest, random.Random(f"{seed}:{number}"))
        try:
            program = judged(changed)
            if program is not None:
                calls(program)
        except Exception as error:
            raise AssertionError(f"{path.name}, seed {seed}:{number}: {error!r}") from error
        if program is None or signature(program) != before:
            refused += 1
        else:
            believed += 1
    return refused, believed


@pytest.mark.parametrize("name", PLANS)
def test_what_is_made_is_believed(name: str, made: dict[str, Path]) -> None:
    assert judged(manifest_of(made[name])) is not None
    planform.load_compiled(made[name])


@pytest.mark.parametrize("name", PLANS)
def test_mutated_manifests_are_refused_or_harmless(name: str, made: dict[str, Path]) -> None:
    refused, believed = sweep(made[name], 0, 500)
    # Names, comments and messages may be anything.
    assert refused > 300 and believed > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_mutated_manifests_are_refused_or_harmless(name: str, seed: int, made: dict[str, Path]) -> None:
    sweep(made[name], seed, 5000)


RUN = """
import sys
from pathlib import Path
from planform.cli import run
for path in sorted(Path(sys.argv[1]).glob("*.plank")):
    code = run(["run", str(path), "--at", "B=2,H=6,W=5,T=4"])
    print("ended", path.name, code, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_what_is_believed_runs_without_harm(name: str, made: dict[str, Path], tmp_path: Path) -> None:
    """Mutated artifacts as whole files: each is run, or refused in words, and none ends the process."""
    manifest = manifest_of(made[name])
    count = 400
    for number in range(count):
        changed = mutated(manifest, random.Random(f"run:{number}"))
        with_manifest(made[name], changed, tmp_path / f"{number:04}.plank")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, timeout=900
    )
    ended = [line.split() for line in done.stdout.splitlines() if line.startswith("ended")]
    assert done.returncode == 0 and len(ended) == count, (ended[-1:], done.stderr[-500:])
    odd = [(file, code) for _, file, code in ended if code not in ("0", "1", "2")]
    assert not odd, (odd[:5], [line for line in done.stderr.splitlines() if "internal" in line][:5])


# ---------------------------------------------------------------- one by one


def put(*way: Any) -> Callable[[dict[str, Any]], None]:
    """Sets the last of `way` at the place that the others name."""
    *path, key, value = way

    def change(manifest: dict[str, Any]) -> None:
        holder: Any = manifest
        for each in path:
            holder = holder[each]
        holder[key] = value

    return change


WRONG: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "a negative arena": ("known", put("program", "arena", -1)),
    "no arena": ("known", put("program", "arena", None)),
    "an arena that is too small": ("known", put("program", "arena", 64)),
    "an arena beyond all memory": ("known", put("program", "arena", 2**60)),
    "an unknown kind of slot": ("known", put("program", "slots", 0, "kind", "heap")),
    "an unknown type": ("known", put("program", "slots", 0, "dtype", "object")),
    "a slot of another kind": ("known", put("program", "slots", 0, "kind", "output")),
    "a slot that is too small": ("small", put("program", "slots", 1, "stored", [1])),
    "a slot of negative size": ("known", put("program", "slots", 1, "stored", [-1])),
    "an operand that is not there": ("known", put("program", "steps", 0, "operands", 0, 99)),
    "a negative operand": ("known", put("program", "steps", 0, "operands", 0, -1)),
    "a step that reads what is made later": ("known", lambda m: m["program"]["steps"].reverse()),
    "no steps": ("known", put("program", "steps", [])),
    "a symbol that nobody tells": ("small", put("program", "steps", 0, "symbols", ["Z"])),
    "no readings": ("small", put("program", "readings", [])),
    "a reading of an axis that is not there": ("small", put("program", "readings", 0, "axis", 9)),
    "a reading by a factor of 0": ("small", put("program", "readings", 0, "factor", 0)),
    "a formula that divides by zero": ("small", put("program", "inputs", 0, "shape", 0, ["floordiv", "B", 0])),
    "a power without end": ("small", put("program", "slots", 1, "stored", 0, ["pow", 10, 10**9])),
    "a formula of an unknown operation": ("small", put("program", "slots", 1, "stored", 0, ["shl", 1, 60])),
    "a result that is not there": ("known", put("program", "outputs", 0, 0, 99)),
    "a result of another size": ("known", put("program", "outputs", 0, 1, [1 << 20])),
    "a structure with a result twice": ("two", put("program", "tree", {"tuple": [{"leaf": 0}, {"leaf": 0}]})),
    "a structure with no results": ("known", put("program", "tree", {"value": None})),
    "an input of another shape": ("known", put("program", "inputs", 0, "shape", [2, 3, 800, 8])),
    "an operator that is not there": ("ordered", put("program", "steps", -2, "function", "no_such")),
    "a turn outside of a loop": ("recurrent", put("program", "steps", 0, "symbols", ["turn"])),
    "a loop without a count": ("recurrent", put("program", "steps", -1, "count", None)),
    "a weight that is not there": ("ordered", lambda m: next(s for s in m["program"]["slots"] if s["kind"] == "weight").update(key="no")),
    "a number for a text": ("known", put("architecture", 5)),
    "something more": ("known", put("extra", 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_manifest_is_refused(
    name: str, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from planform.backends.tvm.runtime import compiled

    which, change = WRONG[name]
    if name != "a weight that is not there":  # which the runner finds, that reads the weights

        def fail(library: bytes) -> None:
            raise AssertionError("the library was loaded")

        monkeypatch.setattr(compiled, "_loaded", fail)
    manifest = manifest_of(made[which])
    change(manifest)
    path = with_manifest(made[which], manifest, tmp_path / "wrong.plank")
    with pytest.raises(ArtifactError) as caught:
        planform.load_compiled(path)
    assert caught.value.code == ("E707" if name == "a number for a text" else "E706")


def test_a_library_of_another_program_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "mixed.plank"
    with zipfile.ZipFile(made["two"]) as archive:
        library = archive.read(artifacts.LIBRARY)
    manifest = manifest_of(made["known"])
    manifest["members"][artifacts.LIBRARY] = hashlib.sha256(library).hexdigest()
    with_manifest(made["known"], manifest, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path.write_bytes(artifacts._zipped({**members, artifacts.LIBRARY: library}))
    with pytest.raises(ArtifactError, match="made for another program") as caught:
        planform.load_compiled(path)
    assert caught.value.code == "E706"


def test_values_that_are_needed_at_once_may_not_share_a_place(made: dict[str, Path]) -> None:
    manifest = manifest_of(made["known"])
    offsets = manifest["program"]["offsets"]
    places_of = sorted(offsets, key=offsets.get)
    assert len(places_of) > 1
    errors = 0
    for slot in places_of[1:]:
        changed = copy.deepcopy(manifest)
        changed["program"]["offsets"][slot] = offsets[places_of[0]]
        try:
            verify(Program.from_dict(changed["program"]))
        except ProgramError as error:
            errors += "which is needed" in str(error)
    assert errors


def test_a_manifest_that_unpacks_to_more_is_not_unpacked(made: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "bomb.plank"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(artifacts.MANIFEST, b" " * 10_000_000)
    with pytest.raises(ArtifactError):
        planform.load_compiled(path)
    deep = ("[" * 100_000).encode()
    path.write_bytes(artifacts._zipped({artifacts.MANIFEST: deep}))
    with pytest.raises(ArtifactError):
        planform.load_compiled(path)
