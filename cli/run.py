"""`planform run`."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..compiler.files import opened, read_text
from .options import FINE, FOUND, SCHEMA, Address, At, Failure, Json, Set, command, open_model, reason
from .terminal import paint, remark, say, say_json
from .weights import Rename, load

if TYPE_CHECKING:
    from ..api.images import ImageInput
    from ..api.model import Model
    from ..compiler.graph.graph import Graph


@command
def run(
    plan: Address,
    weights: Annotated[
        str | None,
        typer.Option("--weights", "-w", metavar="FILE", help="A checkpoint: safetensors, or a torch file."),
    ] = None,
    rename: Rename = None,
    input: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="IMAGE", help="An image; without one, the input is random."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="FILE", help="Names of the classes: one a line, or a JSON list."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes to print.")] = 5,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=2**63 - 1, help="For random weights and inputs."),
    ] = 0,
    at: At = None,
    set: Set = None,
    json: Json = False,
) -> int:
    """Run a plan on an image, or on random numbers.

    An image is prepared as the file's `about { input = ... }` says, and the most likely classes are printed.
    Otherwise the shapes of the results are printed, and the time of a call.

    PLAN may also be a file that `planform compile --to tvm` wrote. Such a file is code, and is run: run only
    what you trust.
    """
    names = None if labels is None else _labels(Path(labels))
    if is_artifact(plan):
        from .run_artifact import run_artifact

        for name, value in {"--weights": weights, "--rename": rename, "--set": set}.items():
            if value is not None:
                raise Failure(f"{name} is for plans: {plan} has its weights, and all else, in it")
        return run_artifact(Path(plan), input, names, top, seed, at, json)
    from ..backends.torch import InputError, LoweringError
    from ..backends.torch.run import run as run_module

    model = open_model(plan, at, set)
    try:
        model, arrays = prepared(model, input, seed)
        module = model.to_torch(seed=seed)
        if weights is not None:
            load(module, model.program, Path(weights), rename, json)
        outcome = run_module(module, arrays, budget=0.0 if input else 0.5)
    except (LoweringError, InputError, ValueError) as error:
        raise Failure(str(error), exit=FOUND) from None
    except (MemoryError, RuntimeError) as error:
        # torch has no class of its own for memory of the CPU that it does not get.
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        help = "smaller sizes need less: --at; `planform cost` says how much is written"
        raise Failure(f"the memory does not suffice to run {model.name}", help, exit=FOUND) from None
    classes: list[dict[str, Any]] = []
    result = next(iter(outcome.outputs.values()), None)
    if input is not None and len(outcome.outputs) == 1 and result is not None and result.dim() == 2:
        classes = most_likely(result[0].double().softmax(0).tolist(), top, names)
    if json:
        say_json(
            {
                "planform_json": SCHEMA,
                "kind": "run",
                "plan": model.name,
                "weights": weights,
                "seed": seed,
                "inputs": {name: _described(value) for name, value in arrays.items()},
                "outputs": {name: _described(value) for name, value in outcome.outputs.items()},
                "seconds": outcome.seconds,
                "classes": classes,
            }
        )
        return FINE
    say_run(model.name, arrays, outcome.outputs, outcome.seconds, classes, input)
    if weights is None and input is not None:
        remark(
            "warning",
            "the weights are random, and so are these classes",
            ["--weights FILE loads trained ones"],
        )
    return FINE


def is_artifact(address: str) -> bool:
    """Whether an address is a compiled file: by its name, or by how it begins."""
    path = Path(address)
    if path.suffix == ".plank":
        return True
    try:
        with opened(path) as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def say_run(
    name: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    seconds: float,
    classes: Sequence[Mapping[str, Any]],
    image: str | None,
) -> None:
    """Print what was run, on what, and what came of it."""
    say(paint(name, "bold"))
    for label, value in inputs.items():
        say(f"  {label}: {_shown(value)}" + (f"  {paint(image, 'dim')}" if image else "  random"))
    for label, value in outputs.items():
        say(f"  {label}: {_shown(value)}")
    say(f"  {seconds * 1000:.1f} ms")
    for found in classes:
        say(f"  {found['probability']:7.2%}  {found['label'] or 'class ' + str(found['index'])}")


def prepared(model: Model, image: str | None, seed: int) -> tuple[Model, dict[str, Any]]:
    """The model with all sizes bound, and its inputs by name: an image, or random numbers.

    Raises `Failure` and `ImageError`.
    """
    from ..backends.torch.run import random_inputs

    spec = image_input(model)
    model = sized(model, spec)
    graph = model.graph
    _all_bound(graph)
    return model, random_inputs(graph, seed) if image is None else _image(Path(image), model, spec, graph)


def image_input(model: Model) -> ImageInput | None:
    """What the plan's file says of its input; raises `ImageError`."""
    from ..api.images import ImageInput

    return ImageInput.of(model.file.scope.about)


def sized(model: Model, spec: ImageInput | None) -> Model:
    """The model with free sizes of its inputs bound: 1 for the first axis, the image's for the last two."""
    from ..dsl import syntax
    from ..dsl.values import BlockDef

    block = cast("BlockDef", model.file.block(model.name).target)
    taken = {*model.bindings, *model.file.scope.names}
    taken |= {param.name for param in block.statics}
    sizes: dict[str, int] = {}
    for param in block.inputs:
        if not isinstance(param.type, syntax.ShapeType):
            continue
        axes = [axis.size.id if isinstance(axis.size, syntax.Name) else None for axis in param.type.axes]
        wanted = dict(zip(axes[:1], (1,), strict=False))
        if len(axes) == 4 and spec is not None:
            wanted |= dict(zip(axes[2:], spec.size, strict=True))
        sizes = {
            name: size for name, size in wanted.items() if name is not None and name not in taken
        } | sizes
    return model.at(**sizes)


def _all_bound(graph: Graph) -> None:
    from ..compiler.cost.sizes import symbols_of

    free = symbols_of(graph)
    if free:
        sizes = ",".join(f"{name}=..." for name in free)
        raise Failure(f"not all sizes of the input are known: {', '.join(free)}", f"bind them: --at {sizes}")


def _image(path: Path, model: Model, spec: ImageInput | None, graph: Graph) -> dict[str, Any]:
    """The image as the one input of the graph."""
    if spec is None:
        help = "say how images are prepared: about { input = {size = 224, mean = [...], std = [...]} }"
        raise Failure(f"{model.file.source.name} does not say what its input is", help)
    shape = graph.inputs[0].shape if len(graph.inputs) == 1 else ()
    if len(shape) != 4 or shape[0] != 1:
        raise Failure(f"{model.name} does not take one image")
    channels, height, width = (int(size) for size in shape[1:])  # pyright: ignore[reportArgumentType]  # bound
    try:
        return {graph.input_names[0]: spec.read(path, (height, width), channels)}
    except OSError as error:
        raise Failure(reason(error)) from None


def most_likely(probabilities: list[float], top: int, names: list[str] | None) -> list[dict[str, Any]]:
    """The classes of the highest probabilities, with their names where there are any."""
    order = sorted(range(len(probabilities)), key=lambda at: -probabilities[at])[:top]
    return [
        {
            "index": at,
            "label": names[at] if names is not None and at < len(names) else None,
            "probability": probabilities[at],
        }
        for at in order
    ]


def _labels(path: Path) -> list[str]:
    """Names of classes: lines of text, or a JSON list."""
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        raise Failure(f"{path} is not UTF-8 text") from None
    if text.lstrip().startswith("["):
        try:
            return [str(item) for item in json_format.loads(text)]
        except ValueError as error:
            raise Failure(f"{path} is no JSON list: {error}") from None
    return text.splitlines()


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value.shape))}]"


def _described(value: Any) -> dict[str, Any]:
    return {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
