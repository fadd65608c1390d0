"""`planform compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..terminal import say, say_json
from .files import write
from .frame import FINE, FOUND, SCHEMA, Address, At, Failure, Json, Mode, Output, Set, command, open_model

if TYPE_CHECKING:
    from ..api import Model

Emit = Annotated[
    Literal["source", "fx", "graph"],
    typer.Option(
        "--emit",
        help="A standalone Python file, the code of the torch module, or the operator graph as text.",
    ),
]


@command
def compile(
    plan: Address,
    emit: Emit = "source",
    output: Output = None,
    at: At = None,
    set: Set = None,
    mode: Mode = "eval",
    json: Json = False,
) -> int:
    """Compile a plan to a Python file that needs torch alone.

    Or to what the compiler sees of it: `--mode` chooses a graph then. The Python file holds both modes, or
    with `--mode deploy` the network that `planform deploy` describes, for its own weights.
    """
    model = open_model(plan, at, set)
    if emit == "graph":
        from ..compiler.printer import print_graph

        text = print_graph(model.graph_in(mode))
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
        about = {"planform_json": SCHEMA, "kind": "compile", "plan": model.name, "emit": emit}
        say_json({**about, "file": output if written else None, "text": None if written else text})
    elif written is None:
        say(text, end="")
    return FINE


def _code(model: Model, mode: str) -> str:
    if mode == "deploy":
        return model.to_torch(mode="deploy").graphs["eval"].code
    return model.to_torch(device="meta").graphs[mode].code
