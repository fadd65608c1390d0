"""`planform version`."""

from __future__ import annotations

from .. import __version__
from .options import FINE, SCHEMA, Json, command
from .terminal import say, say_json


@command
def version(json: Json = False) -> int:
    """Print the version of planform and of the language."""
    from ..dsl.build_declarations import VERSION

    if json:
        say_json({"planform_json": SCHEMA, "kind": "version", "planform": __version__, "language": VERSION})
    else:
        say(f"planform {__version__}, language {VERSION}")
    return FINE
