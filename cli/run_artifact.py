"""`planform run` of an artifact: without torch, and without TVM's compiler."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .options import FINE, FOUND, SCHEMA, Failure, reason
from .run import most_likely, say_run
from .terminal import say_json

if TYPE_CHECKING:
    from ..api.images import ImageInput
    from ..backends.tvm.runtime.program import Port

_BUDGET, _MOST = 0.5, 10


def run_artifact(
    path: Path,
    image: str | None,
    names: list[str] | None,
    top: int,
    seed: int,
    at: list[str] | None,
    json: bool,
) -> int:
    """Load an artifact and run it on an image or random numbers; raises `Failure` and `ArtifactError`."""
    from ..api.images import ImageInput
    from ..backends.tvm.errors import InputError
    from ..backends.tvm.runtime.compiled import load_compiled

    plan = load_compiled(path)
    try:
        spec = ImageInput.of(plan.artifact.manifest.get("about", {}))
    except ValueError as error:
        raise Failure(f"{path}: {error}", exit=FOUND) from None
    sizes = _sizes(plan.program.inputs, spec, at)
    shapes = [_bound(port, sizes) for port in plan.program.inputs]
    if image is None:
        pairs = zip(plan.program.inputs, shapes, strict=True)
        arrays = [random_array(shape, port.dtype, seed) for port, shape in pairs]
    else:
        arrays = [_image(Path(image), plan.name, spec, shapes)]
    try:
        start = time.perf_counter()
        result = plan(*arrays)
        times = [time.perf_counter() - start]
        if image is None and times[0] < _BUDGET:
            times.clear()
            while len(times) < _MOST and (not times or sum(times) < _BUDGET):
                start = time.perf_counter()
                plan(*arrays)
                times.append(time.perf_counter() - start)
    except InputError as error:
        raise Failure(str(error), exit=FOUND) from None
    except MemoryError:
        raise Failure(f"the memory does not suffice to run {plan.name}", exit=FOUND) from None
    inputs = {port.name: array for port, array in zip(plan.program.inputs, arrays, strict=True)}
    outputs = dict(named(result))
    classes: list[dict[str, Any]] = []
    first = next(iter(outputs.values()), None)
    if image is not None and len(outputs) == 1 and first is not None and first.ndim == 2:
        classes = most_likely(_softmax(first[0]), top, names)
    seconds = median(times)
    if json:
        say_json(
            {
                "planform_json": SCHEMA,
                "kind": "run",
                "plan": plan.name,
                "artifact": str(path),
                "seed": seed,
                "inputs": {name: _described(value) for name, value in inputs.items()},
                "outputs": {name: _described(value) for name, value in outputs.items()},
                "seconds": seconds,
                "classes": classes,
            }
        )
    else:
        say_run(plan.name, inputs, outputs, seconds, classes, image)
    return FINE


def random_array(shape: Sequence[int], dtype: str, seed: int = 0) -> Any:
    """Normal numbers, or 0 and 1 where the type holds integers."""
    import numpy as np

    from ..backends.tvm.runtime.dtypes import numpy_dtype

    generator = np.random.default_rng(seed)
    if dtype == "bfloat16":
        # The upper half of a 32-bit float.
        return (generator.standard_normal(shape, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if dtype.startswith(("float", "complex")):
        return generator.standard_normal(shape).astype(numpy_dtype(dtype))
    return generator.integers(0, 2, shape).astype(numpy_dtype(dtype))


def named(result: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays of a result by name: those of records by field, those of lists and tuples by number."""
    if isinstance(result, Mapping):
        items: Any = result.items()
    elif isinstance(result, (list, tuple)):
        items = enumerate(result)
    else:
        yield name or "result", result
        return
    for key, part in items:
        yield from named(part, f"{name}.{key}" if name else str(key))


def _sizes(ports: Sequence[Port], spec: ImageInput | None, at: list[str] | None) -> dict[str, int]:
    """Free sizes: those that are bound, or else 1 for the first axis and the image's for the last two."""
    found: dict[str, int] = {}
    for port in ports:
        guesses = dict(zip(port.shape[:1], (1,), strict=False))
        if len(port.shape) == 4 and spec is not None:
            guesses |= dict(zip(port.shape[2:], spec.size, strict=True))
        found = {name: size for name, size in guesses.items() if isinstance(name, str)} | found
    for text in at or ():
        for part in text.split(","):
            name, _, value = (each.strip() for each in part.partition("="))
            if not value.isascii() or not value.isdigit() or not name:
                raise Failure(f"--at takes NAME=NUMBER for an artifact, and is given {part!r}")
            found[name] = int(value)
    return found


def _bound(port: Port, sizes: Mapping[str, int]) -> tuple[int, ...]:
    from ..backends.tvm.runtime.program import value_of

    try:
        return tuple(value_of(size, sizes) for size in port.shape)
    except KeyError as error:
        name = error.args[0]
        raise Failure(f"the size {name} of the input is not known", f"bind it: --at {name}=...") from None


def _image(path: Path, plan: str, spec: ImageInput | None, shapes: Sequence[tuple[int, ...]]) -> Any:
    """The image as the one input."""
    if spec is None:
        raise Failure(f"the plan of {plan} did not say what its input is, when it was compiled")
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1:
        raise Failure(f"{plan} does not take one image")
    try:
        return spec.read(path, (shapes[0][2], shapes[0][3]), shapes[0][1])
    except OSError as error:
        raise Failure(reason(error)) from None
    except ValueError as error:
        raise Failure(str(error), exit=FOUND) from None


def _softmax(scores: Any) -> list[float]:
    import numpy as np

    wide = scores.astype(np.float64)
    parts = np.exp(wide - wide.max())
    return (parts / parts.sum()).tolist()


def _described(value: Any) -> dict[str, Any]:
    return {"shape": list(value.shape), "dtype": str(value.dtype)}
