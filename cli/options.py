"""What all commands share: exit codes, failures, options, and how a plan is addressed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec

import typer

from ..compiler.errors import PlanformError
from .terminal import complain_of, remark, say_json

if TYPE_CHECKING:
    from ..api.model import Model
    from ..api.plan_file import PlanFile
    from ..compiler.devices import Device
    from ..dsl import syntax
    from ..dsl.scope import FileScope

SCHEMA = 1
FINE, FOUND, USAGE = 0, 1, 2
INTERNAL, INTERRUPTED, BROKEN_PIPE = 70, 130, 141

Address = Annotated[
    str, typer.Argument(metavar="PLAN", help="FILE, FILE:PLAN, or the name of a plan of the atlas.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON with stable keys (see docs/cli.md).")]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="SIZES", help="Bind sizes of the inputs: B=1,H=224,W=224. May be repeated."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a static parameter, by an expression of the language: depths=[2,2,2,2]. May be repeated.",
    ),
]
Mode = Annotated[Literal["train", "eval", "deploy"], typer.Option("--mode", help="Which of the graphs.")]
Output = Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Write here.")]
P = ParamSpec("P")


class Failure(PlanformError):
    """A command cannot do what was asked: a message, what helps, the exit code, and the diagnostic's code if
    it has one.
    """

    def __init__(self, message: str, *help: str, exit: int = USAGE, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.exit = exit
        self.code = code


def command(function: Callable[P, int]) -> Callable[P, None]:
    """A function as a command: it returns the exit code, and whatever it raises becomes a diagnostic."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        code = outcome(lambda: function(*args, **kwargs), json=bool(kwargs.get("json")))
        raise SystemExit(code)

    return run


def outcome(work: Callable[[], int], json: bool = False) -> int:
    """Do some work; its exit code. Nothing leaves as a traceback."""
    from ..compiler.sizes.formula import SizeTooLarge
    from ..dsl.diagnostics import PlanError

    try:
        code = work()
        sys.stdout.flush()
        return code
    except PlanError as error:
        if json:
            from ..dsl.render import to_json

            found = [to_json(each) for each in error.diagnostics]
            say_json({"planform_json": SCHEMA, "ok": False, "diagnostics": found})
        else:
            complain_of(error.diagnostics)
        return FOUND
    except Failure as failure:
        return _failed(failure, json)
    except BrokenPipeError:
        return broken_pipe()
    except KeyboardInterrupt:
        with suppress(OSError):
            remark("error", "interrupted")
        return INTERRUPTED
    except OSError as error:
        return _failed(Failure(reason(error)), json)
    except SizeTooLarge as error:
        return _failed(Failure(f"a figure is too large: {error}", exit=FOUND), json)
    except Exception as error:
        known = _known(error)
        if known is not None:
            return _failed(known, json)
        if os.environ.get("PLANFORM_DEBUG"):
            raise
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        help = "this is a fault of planform; PLANFORM_DEBUG=1 shows where it happened"
        return _failed(Failure(f"internal error: {text}", help, exit=INTERNAL), json)


def _known(error: Exception) -> Failure | None:
    """The failure that an error of compiling or loading is."""
    from ..backends.tvm.errors import BackendError

    # torch has no class of its own for memory of the CPU that it does not get.
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    ):
        help = "smaller sizes need less: --at; `planform cost` says how much is written"
        return Failure("the memory does not suffice", help, exit=FOUND)
    # Torch's error for whole numbers; which of them are zero only the call tells.
    if isinstance(error, RuntimeError) and str(error) == "ZeroDivisionError":
        return Failure(
            "a whole number is divided by zero", "divide by a float, or by `maximum(y, 1)`", exit=FOUND
        )
    if not isinstance(error, BackendError):
        return None
    return Failure(str(error), *error.help, exit=FOUND, code=error.code)


def _failed(failure: Failure, json: bool) -> int:
    if json:
        about: dict[str, Any] = {"error": failure.message, "help": list(failure.help)}
        if failure.code is not None:
            about["code"] = failure.code
        say_json({"planform_json": SCHEMA, "ok": False, "diagnostics": [], **about})
    else:
        remark("error", failure.message, failure.help, failure.code)
    return failure.exit


def broken_pipe() -> int:
    """Whoever read our output has gone; the interpreter must not try to flush what is left."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def reason(error: OSError) -> str:
    """An operating-system error in words."""
    if error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror[0].lower()}{error.strerror[1:]}"


def open_file(address: str) -> tuple[PlanFile, str | None]:
    """The file that an address names, and the plan if it names one; raises `Failure` and `PlanError`."""
    from ..api.locate import locate
    from ..api.plan_file import PlanFile

    try:
        path, plan = locate(address)
    except FileNotFoundError as error:
        raise Failure(str(error), *_near(address)) from None
    try:
        return PlanFile(path), plan
    except UnicodeDecodeError as error:
        raise Failure(
            f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None
    except OSError as error:
        raise Failure(reason(error)) from None


def _near(address: str) -> list[str]:
    """Names of the atlas close to an address, or how to see them."""
    from ..api.locate import examples
    from ..dsl.suggest import did_you_mean

    if address.endswith(".plan") or os.sep in address:
        return []
    known = [path.stem for path in examples()]
    for path in examples():
        with suppress(OSError, UnicodeDecodeError):
            lines = path.read_text(encoding="utf-8").splitlines()
            known += [line.split()[1].partition("=")[0] for line in lines if line.startswith("plan ")]
    return did_you_mean(address, known) or ["`planform list` shows the atlas"]


def device_of(name: str) -> Device:
    """The device of a name."""
    from ..compiler.devices import DEVICES
    from ..dsl.suggest import did_you_mean

    if name not in DEVICES:
        help = did_you_mean(name, list(DEVICES)) or [f"there are {', '.join(DEVICES)}"]
        raise Failure(f"no device is called `{name}`", *help)
    return DEVICES[name]


def open_model(address: str, at: list[str] | None = None, sets: list[str] | None = None) -> Model:
    """The plan at an address, with sizes bound and parameters set."""
    from ..api.model import Model
    from ..dsl.diagnostics import PlanError
    from ..dsl.elaborate import Elaboration
    from ..dsl.scope import Frame
    from ..dsl.values import Poisoned

    file, named = open_file(address)
    plan = file.plan(named)
    sizes: dict[str, Any] = {}
    values: dict[str, Any] = {}
    scope: FileScope = file.scope
    for option, texts, found in (("--at", at, sizes), ("--set", sets, values)):
        for text in texts or ():
            run = Elaboration(option, "eval")
            try:
                arguments = _arguments(option, text)
                if option == "--at":
                    found.update(run.bindings(arguments, Frame(scope)))
                else:
                    found.update(
                        {str(each.name): run.evaluate(each.value, Frame(scope)) for each in arguments}
                    )
            except (PlanError, Poisoned) as error:
                # What was reported comes first: the rest may follow from it.
                wrong = [*run.diagnostics, *(error.diagnostics if isinstance(error, PlanError) else ())]
                raise Failure(f"{option} {text}: {wrong[0].message}") from None
    return Model(file, plan, values, sizes)


def _arguments(option: str, text: str) -> tuple[syntax.Argument, ...]:
    """`a=1, b=[2, 3]` as arguments of a call; raises `PlanError` and `Failure`."""
    from ..dsl.parser import parse
    from ..dsl.source import Source
    from ..dsl.syntax import Call, Let

    items = parse(Source(option, f"planform 1\nx = f({text})\n")).items
    call = items[0].value if len(items) == 1 and isinstance(items[0], Let) else None
    if not isinstance(call, Call) or not all(each.name for each in call.arguments):
        raise Failure(f"{option} takes NAME=VALUE, and is given {text!r}")
    return call.arguments
