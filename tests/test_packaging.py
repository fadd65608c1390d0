"""The wheel holds the whole package: every module, and the grammar, the library and the examples as data."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = (
    "tests",
    "benchmarks",
    "docs",
    "editors",
    "build",
    "dist",
    "out",
    ".*",
    "*.egg-info",
    "__pycache__",
    "demo.py",
)
DATA = ("grammar/*.lark", "grammar/*.json", "dsl/std/*.plan", "examples/**/*.plan")

# One file of each kind that the repository does not have, so that the test does not depend on what it has.
PROBES = ("grammar/probe.lark", "dsl/std/probe.plan", "examples/probe/probe.plan", "examples/a/b/probe.plan")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's sources with the probes in it; building leaves traces in a tree."""
    copy = tmp_path_factory.mktemp("wheel") / "tree"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*OUTSIDE))
    for probe in PROBES:
        (copy / probe).parent.mkdir(parents=True, exist_ok=True)
        (copy / probe).write_text("# probe\n", encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    """The wheel built from that copy, offline, by the build backend itself."""
    out = tree.parent / "out"
    out.mkdir()
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True, timeout=300)
    (built,) = out.glob("planform-*.whl")
    return built


def test_every_folder_with_modules_is_listed(tree: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    found = {path.parent.relative_to(tree).parts for path in tree.rglob("*.py") if "build" not in path.parts}
    assert sorted(listed) == sorted(".".join(("planform", *parts)) for parts in found)


def test_the_wheel_holds_all_modules_and_data(tree: Path, wheel: Path) -> None:
    expected = {
        f"planform/{path.relative_to(tree).as_posix()}"
        for pattern in ("**/*.py", *DATA)
        for path in tree.glob(pattern)
        if "build" not in path.relative_to(tree).parts
    }
    assert {f"planform/{probe}" for probe in PROBES} <= expected
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("planform/")} == expected


def test_the_wheel_imports_and_names_its_command(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (info,) = tmp_path.glob("planform-*.dist-info")
    assert "planform = planform.__main__:main" in (info / "entry_points.txt").read_text(encoding="utf-8")
    assert (info / "licenses" / "LICENSE").is_file()
    code = "import planform; print(planform.__file__, planform.__version__)"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    file, version = done.stdout.split()
    assert Path(file) == tmp_path / "planform" / "__init__.py"
    assert info.name == f"planform-{version}.dist-info"


def test_the_wheel_reaches_its_networks_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "net.plan").write_text(
        'planform 1\nuse atlas "convnets/resnet.plan" (resnet18)\nplan small = resnet18(classes=7)\n',
        encoding="utf-8",
    )
    code = "import planform; print(planform.__file__, planform.load('net.plan').cost().params)"
    run = [sys.executable, "-c", f"import sys; sys.path.insert(0, 'site'); {code}"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    file, params = done.stdout.split()
    assert (tmp_path / file).resolve() == tmp_path / "site" / "planform" / "__init__.py"
    assert int(params) == 11_689_512 - 993 * 513  # torchvision's resnet18 with 7 classes of 1000
