"""`planform weights`."""

from __future__ import annotations
import typer

app = typer.Typer(help="Checkpoints: what fits a plan.", no_args_is_help=True)
