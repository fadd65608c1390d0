"""What the documents say is done as written: plans are checked, commands typed, Python run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from planform.cli.app import app
from support.docs import expected_code, fences, matches, typed, write_plans
from support.forked import planform, python

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def having(*kinds: str) -> list[str]:
    """The documents with fences of these kinds."""
    return [
        name
        for name, path in zip(NAMES, DOCUMENTS, strict=True)
        if any(fence.kind in kinds for fence in fences(path.read_text(encoding="utf-8")))
    ]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the examples in it, as the root of the repository has them."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def environment() -> dict[str, str]:
    """The environment of whoever reads the documents: planform is installed, and nothing is coloured."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def shell(command: str, place: Path, given: str = "") -> tuple[int, str]:
    """The exit code of a line of shell, and all that it writes."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment(),
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


def forked(command: str, place: Path) -> tuple[int, str]:
    """The same, where `planform` is forked and a shell does what stands behind it: a pipe or a redirection."""
    line = re.fullmatch(r"planform ([^|>]*?)(?: ([|>].*))?", command)
    if line is None:
        return shell(command, place)
    done = planform(*shlex.split(line[1], comments=True), cwd=place, environment=environment())
    if line[2] is None:
        return done.returncode, done.stdout + done.stderr
    code, output = shell(f"cat {line[2]}", place, done.stdout)
    return code or done.returncode, done.stderr + output


@pytest.mark.parametrize("name", having("console"))
def test_commands_do_what_is_shown(name: str, place: Path) -> None:
    document = (ROOT / name).read_text(encoding="utf-8")
    write_plans(document, place)
    for fence in fences(document):
        for line in typed(fence) if fence.kind == "console" else ():
            # Those of the front page are typed in a shell, as whoever reads it does.
            code, output = (shell if name == "README.md" else forked)(line.command, place)
            where = f"{name}:{line.line}: {line.command}"
            assert code == expected_code(line.command), f"{where}\n{output}"
            if line.output:
                assert matches(line.output, output), f"{where}\n{output}"


@pytest.mark.parametrize("name", having("planform"))
def test_plans_are_fine_and_formatted(name: str, place: Path) -> None:
    names = write_plans((ROOT / name).read_text(encoding="utf-8"), place)
    for command in (["check"], ["fmt", "--check"]):
        done = planform(*command, *names, cwd=place, environment=environment())
        assert done.returncode == 0, f"{name}: {' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", having("python"))
def test_python_runs(name: str, place: Path) -> None:
    document = (ROOT / name).read_text(encoding="utf-8")
    write_plans(document, place)
    code = "\n".join(fence.text for fence in fences(document) if fence.kind == "python")
    done = python(code, cwd=place, environment=environment())
    assert done.returncode == 0, f"{name}\n{done.stderr}"


def test_generated_pages_are_current() -> None:
    run = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    document = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", re.sub(r"`[^`\n]*`", "", document)):
        assert ((ROOT / name).parent / target).exists(), f"{name}: {target}"


def command_options() -> dict[str, set[str]]:
    """Every command of the command line, with the names of its options."""
    found: dict[str, set[str]] = {}
    pending: list[tuple[str, Any]] = [("", get_command(app))]
    for name, command in pending:
        inner = getattr(command, "commands", None)
        if inner is not None:
            pending += [(f"{name} {part}".strip(), each) for part, each in inner.items()]
            continue
        options = [param for param in command.params if param.param_type_name == "option"]
        found[name] = {text for each in options for text in (*each.opts, *each.secondary_opts)}
    return found


def test_help_and_page_have_the_same_commands_and_options() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    # What is typed is run by the test above.
    sections = dict(
        re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", _without_fences(text), re.MULTILINE | re.DOTALL)
    )
    shared = written_options(
        "\n".join(re.findall(r"^- .*", sections["What all commands share"], re.MULTILINE))
    )
    known = command_options()
    pages = {title.removeprefix("planform ") for title in sections if title.startswith("planform ")}
    assert pages == known.keys()
    everything = set[str]().union(*known.values())
    assert shared <= everything
    for command, options in known.items():
        section = sections[f"planform {command}"]
        here = written_options(section)
        long = {option for option in options if option.startswith("--")} - shared
        # A switch is named by what changes something.
        switches = {
            option for option in long if f"--no-{option[2:]}" in options and f"--no-{option[2:]}" in here
        }
        assert long - switches <= here, f"{command}: docs/cli.md lacks {sorted(long - switches - here)}"
        assert here <= everything, f"{command}: there is no {sorted(here - everything)}"
        # Other commands may be spoken of, in the words `planform COMMAND --option`.
        spoken = {
            o for words in re.findall(r"`planform [^`]*`", section) for o in re.findall(r"--[a-z-]+", words)
        }
        assert here - spoken <= options, f"{command} has no {sorted(here - spoken - options)}"


def written_options(text: str) -> set[str]:
    """The options that a text names in backquotes."""
    return {
        option
        for code in re.findall(r"`([^`]+)`", text)
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)
    }


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
