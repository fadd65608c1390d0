"""`planform compile --to tvm`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..api.images import ImageInput
from .files import write, write_bytes
from .options import FINE, SCHEMA
from .progress import stages
from .terminal import paint, remark, say, say_json
from .weights import fitting

if TYPE_CHECKING:
    from ..api.model import Model
    from ..backends.tvm.runtime.artifact import Artifact


def compile_artifact(
    model: Model,
    target: str | None,
    weights: str | None,
    rename: str | None,
    seed: int,
    dtype: str,
    output: str | None,
    cached: bool,
    json: bool,
) -> int:
    """Write the artifact of a plan; raises `Failure` and whatever else its parts raise."""
    from ..api.compile import deployed_model, to_artifact, trained
    from ..backends.torch.arrays import source_weights

    deployed = deployed_model(model, dtype)
    path = Path(output or f"{model.name}.plank")
    if weights is None:
        tensors = source_weights(deployed.source, seed=seed)
    else:
        tensors = fitting(deployed.source, Path(weights), rename, json, lambda: trained(model))
    with stages(model.name, json) as tell:
        made = to_artifact(model, tensors, target, dtype, cached=cached, tell=tell)
        content = made.to_bytes()
    write_bytes(path, content)
    if json:
        say_json(_to_dict(made, model, path, weights, len(content)))
        return FINE
    say(f"{paint(model.name, 'bold')}: {path}, {len(content) / 1e6:.1f} MB")
    described = made.manifest["target"]
    detail = described.get("mcpu", "generic") if described["kind"] == "llvm" else described["kind"]
    say(f"  {made.manifest['architecture']}, {detail}")
    if weights is None and made.weights:
        remark("warning", "the weights are random", ["--weights FILE loads trained ones"])
    _tell_of_free_sizes(made)
    return FINE


def _tell_of_free_sizes(made: Artifact) -> None:
    """Warn of sizes that keep kernels from being fast: all that are free but the batch."""
    free = {each.symbol: each for each in made.program.readings if each.axis}
    if not free:
        return
    spec = ImageInput.of(made.manifest.get("about", {}))
    # Images are [B, C, H, W].
    known = {} if spec is None else {2: spec.size[0], 3: spec.size[1]}
    bindings = ",".join(f"{name}={known.get(each.axis, '...')}" for name, each in free.items())
    are = "is" if len(free) == 1 else "are"
    message = f"{' and '.join(free)} {are} free: kernels for any size are slower"
    remark("warning", message, [f"--at {bindings} makes them for one size"])


def _to_dict(made: Artifact, model: Model, path: Path, weights: str | None, size: int) -> dict[str, Any]:
    kept = ("target", "architecture", "features", "dtype", "versions")
    return {
        "planform_json": SCHEMA,
        "kind": "compile",
        "plan": model.name,
        "to": "tvm",
        "file": str(path),
        "bytes": size,
        "weights": weights,
        "kernels": len({step.function for step in made.program.steps if not step.external}),
        **{name: made.manifest[name] for name in kept},
    }


def emit_kernels(
    model: Model, form: str, target: str | None, dtype: str, output: str | None, json: bool
) -> int:
    """Write what each kernel became, after a comment with its operators and their line in the plan."""
    from ..api.compile import deployed_model
    from ..backends.tvm.compile import kernels

    mark = {"tir": "#", "llvm": ";", "asm": "#", "cuda": "//"}[form]
    parts: list[str] = []
    seen: set[str] = set()
    with stages(model.name, json) as tell:
        for step, text in kernels(deployed_model(model, dtype).graph, form, target, dtype, tell=tell):
            name = f"{mark} {step.about}"
            if step.external:
                parts.append(f"{name}: by numpy\n")
            elif step.function in seen:
                parts.append(f"{name}: {step.function}, as above\n")
            else:
                parts.append(f"{name}: {step.function}\n{text}")
            seen.add(step.function)
    text = "\n".join(parts)
    written = None if output is None or output == "-" else Path(output)
    if written is not None:
        write(written, text)
    if json:
        about = {"planform_json": SCHEMA, "kind": "compile", "plan": model.name, "to": "tvm", "emit": form}
        say_json({**about, "file": output if written else None, "text": None if written else text})
    elif written is None:
        say(text, end="")
    return FINE
