"""Compiled files: what is in them, that they load without torch and TVM's compiler, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

import planform
from planform.backends.tvm.errors import ArtifactError, BuildError
from planform.backends.tvm.runtime import host, libraries, tensorfile
from planform.compiler import files
from support.compiled import compiled, model

HEADER = b"PK\x03\x04"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "small.plank"
    compiled().save(path)
    return path


@pytest.fixture
def unrunnable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is loaded in the test is a mistake."""

    def fail(path: Path) -> None:
        raise AssertionError(f"{path} was loaded")

    monkeypatch.setattr(libraries, "load_library", fail)


def test_it_gives_the_same_as_before(artifact: Path) -> None:
    x = torch.randn(2, 3, 6, 5)
    loaded = planform.load_compiled(artifact)
    assert torch.equal(loaded(x), compiled()(x))
    assert loaded.signature == {"image": "float32[B, 3, H, W]"}
    assert loaded.artifact.manifest["about"]["title"] == "Small"


ALONE = """
import sys
for name in ("torch", "sympy"):
    sys.modules[name] = None
import numpy as np
from planform.backends.tvm.runtime.compiled import load_compiled
x = np.linspace(-1, 1, 2 * 3 * 6 * 5, dtype=np.float32).reshape(2, 3, 6, 5)
print(load_compiled(sys.argv[1])(x).tolist())
others = {name.partition(".")[0] for name in sys.modules if sys.modules[name] is not None}
print(sorted(others & {"lark", "networkx", "rich", "typer", "torch", "tvm", "sympy"}))
"""


def test_it_runs_without_torch_and_without_importing_tvm(artifact: Path) -> None:
    run = [sys.executable, "-c", ALONE, str(artifact)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found, loaded = done.stdout.splitlines()
    x = torch.linspace(-1, 1, 2 * 3 * 6 * 5).reshape(2, 3, 6, 5)
    with torch.inference_mode():
        wanted = model().to_torch(seed=0).eval()(x)
    torch.testing.assert_close(torch.tensor(json.loads(found)), wanted, rtol=1e-5, atol=1e-6)
    assert loaded == "[]"


def test_torch_can_be_imported_after_it(artifact: Path) -> None:
    code = (
        "import sys, numpy as np; from planform.backends.tvm.runtime.compiled import load_compiled; "
        "plan = load_compiled(sys.argv[1]); assert 'torch' not in sys.modules; import torch; "
        "print(type(plan(torch.zeros(1, 3, 2, 2))).__name__)"
    )
    run = [sys.executable, "-c", code, str(artifact)]
    assert subprocess.run(run, capture_output=True, text=True, timeout=60).stdout == "Tensor\n"


def test_it_is_a_zip_that_others_read(artifact: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(artifact) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        for name, digest in manifest["members"].items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
        content = archive.read("weights.safetensors")
    found = safetensors.numpy.load(content)
    assert found["bn.weight"].tolist() == [1, 1, 1]
    start = artifact.read_bytes().index(content)
    assert start % 64 == 0
    assert {"planform", "tvm"} <= set(manifest["versions"])
    assert manifest["architecture"] == host.architecture()


def test_weights_are_aligned_where_the_format_lets_them(tmp_path: Path) -> None:
    arrays = {"odd": np.arange(3, dtype="i8"), "even": np.eye(4, dtype="f4"), "none": np.zeros((0, 2), "f2")}
    content = tensorfile.to_bytes(arrays)
    for found in (safetensors.numpy.load(content), tensorfile.from_bytes(memoryview(content))):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
    assert content.index(np.eye(4, dtype="f4").tobytes()) % 64 == 0


def refused(path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        planform.load_compiled(path)
    assert str(path) in str(caught.value)
    return caught.value.code


@pytest.mark.usefixtures("unrunnable")
def test_a_truncated_file_is_refused(artifact: Path, tmp_path: Path) -> None:
    content, path = artifact.read_bytes(), tmp_path / "cut.plank"
    for length in (1, 3, 4, 30, 100, 3000, len(content) // 2, len(content) - 1000, len(content) - 1):
        path.write_bytes(content[:length])
        assert refused(path) == ("E706" if length >= 4 else "E705"), length
    path.write_bytes(b"")
    assert refused(path) == "E705"
    with pytest.raises(FileNotFoundError):
        planform.load_compiled(tmp_path / "none.plank")


@pytest.mark.usefixtures("unrunnable")
def test_an_altered_file_is_refused(artifact: Path, tmp_path: Path) -> None:
    content, path = artifact.read_bytes(), tmp_path / "altered.plank"
    with zipfile.ZipFile(artifact) as archive:
        for info in archive.infolist():
            first = content.index(archive.read(info), info.header_offset)
            for at in (first, first + info.file_size // 2, first + info.file_size - 1):
                altered = bytearray(content)
                altered[at] ^= 4
                path.write_bytes(altered)
                assert refused(path) == "E706", info.filename


def rewritten(artifact: Path, path: Path, change: Any, leave_out: str = "") -> Path:
    """The artifact with a changed manifest."""
    with zipfile.ZipFile(artifact) as archive, zipfile.ZipFile(path, "w") as made:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "manifest.json":
                manifest = json.loads(content)
                change(manifest)
                content = json.dumps(manifest).encode()
            if name != leave_out:
                made.writestr(name, content)
    return path


@pytest.mark.usefixtures("unrunnable")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "another"}, "E705"),
        ({"format": 999}, "E708"),
        ({"format": "one"}, "E708"),
        ({"architecture": "s390x"}, "E707"),
        ({"features": ["neon", "avx2", "fma", "dotprod"]}, "E707"),
        ({"members": {}}, "E706"),
        ({"members": None}, "E706"),
        ({"program": {}}, "E706"),
        ({"members": {"kernels.so": "0" * 64}}, "E706"),
    ],
)
def test_a_foreign_file_is_refused(artifact: Path, tmp_path: Path, change: dict[str, Any], code: str) -> None:
    path = rewritten(artifact, tmp_path / "other.plank", lambda manifest: manifest.update(change))
    assert refused(path) == code


@pytest.mark.usefixtures("unrunnable")
def test_a_manifest_that_was_changed_in_a_whole_zip_is_refused(artifact: Path, tmp_path: Path) -> None:
    def shift(manifest: dict[str, Any]) -> None:
        manifest["program"]["arena"] = 64

    path = rewritten(artifact, tmp_path / "changed.plank", shift)
    assert refused(path) == "E706"
    assert refused(rewritten(artifact, path, lambda manifest: None, "manifest.json.sha256")) == "E706"


def test_the_digest_of_the_manifest_is_as_sha256sum_writes_it(artifact: Path) -> None:
    with zipfile.ZipFile(artifact) as archive:
        digest = hashlib.sha256(archive.read("manifest.json")).hexdigest()
        assert archive.read("manifest.json.sha256").decode() == f"{digest}  manifest.json\n"


@pytest.mark.usefixtures("unrunnable")
def test_another_zip_and_a_missing_member_are_refused(artifact: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "any.plank", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert refused(tmp_path / "any.plank") == "E705"
    path = rewritten(artifact, tmp_path / "less.plank", lambda manifest: None, "weights.safetensors")
    assert refused(path) == "E706"
    (tmp_path / "text.plank").write_text("planform 1\n", encoding="utf-8")
    assert refused(tmp_path / "text.plank") == "E705"


def test_a_library_that_does_not_load_is_named(artifact: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    made = replace(planform.load_compiled(artifact).artifact, library=b"\x7fELF and nothing more")
    (tmp_path / "bad.plank").write_bytes(made.to_bytes())
    assert refused(tmp_path / "bad.plank") == "E706"


def test_the_features_that_code_needs_are_those_of_its_target() -> None:
    from planform.api.compile import to_artifact

    for name, needs, lacks in (("x86-64-v2", "sse4.2", "avx"), ("x86-64-v3", "fma", "avx512f")):
        target = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": name}
        if host.architecture() != "x86_64":
            pytest.skip("links for x86-64")
        manifest = to_artifact(model("two"), {}, target).manifest
        assert needs in manifest["features"] and lacks not in manifest["features"]


def test_without_tvm_the_extra_is_named(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries.ffi.forget()
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    with pytest.raises(BuildError) as caught:
        planform.load_compiled(artifact)
    assert caught.value.code == "E709" and caught.value.help == ('pip install "planform[tvm]"',)
    monkeypatch.undo()


def test_nothing_half_written_remains(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.plank"
    path.write_bytes(artifact.read_bytes())

    def fail(*arguments: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        compiled().save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == artifact.read_bytes()


def test_the_same_plan_gives_the_same_bytes(artifact: Path, tmp_path: Path) -> None:
    compiled().save(tmp_path / "again.plank")
    assert (tmp_path / "again.plank").read_bytes() == artifact.read_bytes()
    assert os.stat(artifact).st_mode & 0o044
