"""The command line. Whatever is heavy is imported by the command that needs it."""

from __future__ import annotations

import gc
import io
import sys

import typer

from .check import check
from .compare import compare
from .compile import compile as compile_plan
from .cost import cost
from .deploy import deploy
from .explain import explain
from .fmt import fmt
from .fuse import fuse
from .graph import graph
from .list import list_plans
from .memory import memory
from .options import broken_pipe
from .run import run as run_plan
from .version import version
from .weights import app as weights

app = typer.Typer(
    name="planform",
    help="Planform: neural networks as text. A plan is checked, costed, drawn and run.",
    epilog="Exit codes: 0 fine, 1 diagnostics, 2 usage.",
    add_completion=False,
    no_args_is_help=True,
    # Plain help: rich would take as long to load as everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(check)
app.command("cost")(cost)
app.command("memory")(memory)
app.command("graph")(graph)
app.command("fuse")(fuse)
app.command("deploy")(deploy)
app.command("compile")(compile_plan)
app.command("run")(run_plan)
app.command("compare")(compare)
app.command("list")(list_plans)
app.command("explain")(explain)
app.command("fmt")(fmt)
app.command("version")(version)
app.add_typer(weights, name="weights")


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code."""
    # Most of what a command makes lives until it ends: looking for cycles in it takes a tenth of the time.
    gc.set_threshold(100_000, 20, 20)
    # Python leaves out a stream that the caller has closed.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        try:
            app(arguments, prog_name="planform")
        finally:
            sys.stdout.flush()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    except BrokenPipeError:
        return broken_pipe()
    return 0
