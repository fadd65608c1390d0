"""`planform compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .compile_tvm import compile_artifact, emit_kernels
from .files import write
from .options import FINE, FOUND, SCHEMA, Address, At, Failure, Json, Mode, Output, Set, command, open_model
from .terminal import say, say_json
from .weights import Rename

if TYPE_CHECKING:
    from ..api.model import Model

To = Annotated[
    Literal["torch", "tvm"],
    typer.Option("--to", help="A Python file for torch, or machine code with weights, by TVM."),
]
Emit = Annotated[
    Literal["source", "fx", "graph", "tir", "llvm", "asm", "cuda"] | None,
    typer.Option(
        "--emit",
        help="As text: a standalone Python file, the code of the torch module, or the operator graph; "
        "or what TVM makes of each kernel.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option("--target", metavar="TARGET", help="For tvm: cpu, which is this one, cuda, or TVM's JSON."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", "-w", metavar="FILE", help="For tvm: a checkpoint, safetensors or a torch file."
    ),
]
Float = Annotated[
    Literal["f32", "f64", "f16", "bf16"],
    typer.Option("--float", help="For tvm: what the plan's floats are."),
]
_KERNELS = ("tir", "llvm", "asm", "cuda")


@command
def compile(
    plan: Address,
    to: To = "torch",
    emit: Emit = None,
    output: Output = None,
    at: At = None,
    set: Set = None,
    mode: Mode = "eval",
    target: Target = None,
    weights: Weights = None,
    rename: Rename = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**63 - 1, help="For tvm: for random weights.")
    ] = 0,
    float: Float = "f32",
    cache: Annotated[bool, typer.Option(help="For tvm: take the same build from the cache.")] = True,
    json: Json = False,
) -> int:
    """Compile a plan to a Python file that needs torch alone, or to machine code.

    Or to what the compiler sees of it: `--mode` chooses a graph then. The Python file holds both modes, or
    with `--mode deploy` the network that `planform deploy` describes, for its own weights. `--to tvm` writes
    one file, PLAN.plank unless `--output` says otherwise, with the kernels and the weights of that network;
    `planform run` runs it.
    """
    if to == "tvm" and emit in ("source", "fx"):
        raise Failure(f"--emit {emit} is for torch", f"for tvm there are {', '.join(_KERNELS)} and graph")
    if to == "torch" and emit not in _KERNELS:
        given = {"--target": target, "--weights": weights, "--rename": rename}
        for name, value in given.items():
            if value is not None:
                raise Failure(f"{name} is for --to tvm")
    model = open_model(plan, at, set)
    if mode == "train":
        model.graph_in("train")
    if emit in _KERNELS:
        return emit_kernels(model, emit, target, float, output, json)
    if to == "tvm" and emit is None:
        return compile_artifact(model, target, weights, rename, seed, float, output, cache, json)
    emit = emit or "source"
    if emit == "graph":
        from ..compiler.graph.text import print_graph

        text = print_graph(model.graph_in("deploy" if to == "tvm" else mode))
    else:
        from ..backends.torch import LoweringError

        try:
            text = model.to_source(mode) if emit == "source" else _code(model, mode)
        except LoweringError as error:
            raise Failure(str(error), exit=FOUND) from None
        text = text.strip("\n") + "\n"
    written = None if output is None or output == "-" else Path(output)
    if written is not None:
        write(written, text)
    if json:
        about = {"planform_json": SCHEMA, "kind": "compile", "plan": model.name, "to": to, "emit": emit}
        say_json({**about, "file": output if written else None, "text": None if written else text})
    elif written is None:
        say(text, end="")
    return FINE


def _code(model: Model, mode: str) -> str:
    if mode == "deploy":
        return model.to_torch(mode="deploy")._graphs["eval"].code
    return model.to_torch(device="meta")._graphs[mode].code
