"""What the documents say is done as written: plans are checked, commands typed, Python run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.docs import expected_code, fences, matches, typed, write_plans

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


@pytest.mark.parametrize("name", having("console"))
def test_commands_do_what_is_shown(name: str, place: Path) -> None:
    document = (ROOT / name).read_text(encoding="utf-8")
    write_plans(document, place)
    for fence in fences(document):
        for line in typed(fence) if fence.kind == "console" else ():
            done = subprocess.run(
                ["bash", "-c", line.command],
                cwd=place,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
            )
            where = f"{name}:{line.line}: {line.command}"
            assert done.returncode == expected_code(line.command), f"{where}\n{done.stdout}"
            if line.output:
                assert matches(line.output, done.stdout), f"{where}\n{done.stdout}"


@pytest.mark.parametrize("name", having("planform"))
def test_plans_are_fine_and_formatted(name: str, place: Path) -> None:
    names = write_plans((ROOT / name).read_text(encoding="utf-8"), place)
    for command in (["check"], ["fmt", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "planform", *command, *names],
            cwd=place,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{name}: {' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", having("python"))
def test_python_runs(name: str, place: Path) -> None:
    document = (ROOT / name).read_text(encoding="utf-8")
    write_plans(document, place)
    code = "\n".join(fence.text for fence in fences(document) if fence.kind == "python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
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


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = (
        "check",
        "cost",
        "graph",
        "compile",
        "run",
        "compare",
        "list",
        "explain",
        "fmt",
        "version",
        "weights bind",
    )
    for command in commands:
        assert f"\n## planform {command}\n" in text, command
        shown = subprocess.run(
            [sys.executable, "-m", "planform", *command.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        section = text.partition(f"\n## planform {command}\n")[2].partition("\n## ")[0]
        for option in re.findall(r"^  (?:-\w, )?(--[a-z]+)", shown, re.MULTILINE):
            assert option in section or option in ("--help", "--json", "--at", "--set"), (command, option)
