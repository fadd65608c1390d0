"""The command line. Whatever is heavy is imported by the command that needs it."""

from __future__ import annotations

import io
import sys

import typer

from .commands import (
    build,
    check,
    compare,
    cost,
    deploy,
    explain,
    fmt,
    fuse,
    graph,
    listing,
    memory,
    run_model,
    version,
    weights,
)
from .commands.frame import broken_pipe

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
app.command("check")(check.check)
app.command("cost")(cost.cost)
app.command("memory")(memory.memory)
app.command("graph")(graph.graph)
app.command("fuse")(fuse.fuse)
app.command("deploy")(deploy.deploy)
app.command("compile")(build.compile)
app.command("run")(run_model.run)
app.command("compare")(compare.compare)
app.command("list")(listing.list_plans)
app.command("explain")(explain.explain)
app.command("fmt")(fmt.fmt)
app.command("version")(version.version)
app.add_typer(weights.app, name="weights")


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code."""
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
