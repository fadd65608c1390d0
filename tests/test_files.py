"""Files that are none, are too large or lie, and disks that are full: a reason in words, and nothing half written."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from planform import PlanError
from planform.api.images import ImageInput
from planform.api.plan_file import PlanFile
from planform.backends.torch.checkpoints import CheckpointError, read_checkpoint
from planform.cli.app import run
from planform.compiler import files

PLAN = "planform 1\nmodel part(x: [1, 3, 8, 8]) {\n    return x -> relu()\n}\nplan net = part()\n"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def large(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole, which takes no place on the disk


KINDS: dict[Callable[[Path], None], str] = {
    fifo: "is a pipe, not a file",
    loop: "too many levels of symbolic links",
    device: "is a device, not a file",
    folder: "is a directory",
    large: "is larger than",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.plan").write_text(PLAN, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "line",
    [
        "check odd.plan",
        "fmt odd.plan",
        "cost odd.plan",
        "run net.plan --labels odd.plan",
        "run net.plan --weights odd.plan --rename odd.plan",
    ],
)
def test_what_is_no_file_is_a_usage_error(
    make: Callable[[Path], None], line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(here / "odd.plan")
    if make is loop and not line.startswith(("fmt", "run")):
        reason = "there is no file odd.plan"
    else:
        reason = KINDS[make]
    assert run(line.split()) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("make", [*KINDS, listener], ids=lambda make: make.__name__)
def test_use_of_what_is_no_file_is_told_of(make: Callable[[Path], None], here: Path) -> None:
    make(here / "odd.plan")
    (here / "net.plan").write_text('planform 1\nuse "odd.plan" (a)\n' + PLAN[11:], encoding="utf-8")
    found = PlanFile(here / "net.plan").check().diagnostics
    # A device lies outside of the project.
    assert [each.code for each in found] == ["E105" if make is device else "E104"]


def test_use_of_a_name_with_a_zero_byte(here: Path) -> None:
    (here / "net.plan").write_text('planform 1\nuse "a\0b.plan" (a)\n' + PLAN[11:], encoding="utf-8")
    found = PlanFile(here / "net.plan").check().diagnostics
    assert [each.code for each in found] == ["E104"]
    with pytest.raises(OSError, match="No file can have this name"):
        PlanFile(here / "a\0b.plan")


@pytest.mark.parametrize("count", [60, 1500])
def test_a_chain_of_files_is_bounded(count: int, here: Path) -> None:
    for number in range(count):
        text = f'use "f{number + 1}.plan" (a)\n' if number + 1 < count else "a = 1\n"
        (here / f"f{number}.plan").write_text(f"planform 1\n{text}", encoding="utf-8")
    (here / "net.plan").write_text('planform 1\nuse "f0.plan" (a)\n' + PLAN[11:], encoding="utf-8")
    found = PlanFile(here / "net.plan").check().diagnostics
    assert {each.code for each in found} == (set() if count == 60 else {"E205"})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (fifo, "nobody reads from this pipe"),
        (loop, "too many levels of symbolic links"),
        (folder, "is a directory"),
        (lambda path: path.symlink_to("/dev/full"), "no space left on device"),
        (lambda path: path.symlink_to("none/such"), "no such file or directory"),
    ],
    ids=["pipe", "loop", "folder", "full", "nowhere"],
)
def test_output_that_cannot_be(
    make: Callable[[Path], None], reason: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(here / "out")
    before = sorted(here.iterdir())
    assert run(["graph", "net.plan", "-o", "out"]) == 2
    assert reason in capsys.readouterr().err
    assert sorted(here.iterdir()) == before


def test_output_into_a_pipe_that_is_read(here: Path) -> None:
    fifo(here / "out")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((here / "out").read_text(encoding="utf-8")))
    reader.start()
    while True:
        code = run(["graph", "net.plan", "-o", "out"])
        if code == 0:  # the reader is there
            break
    reader.join(10)
    assert read[0].startswith("net")


def test_a_file_that_may_not_be_written_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "out").write_text("mine", encoding="utf-8")
    (here / "out").chmod(0o444)
    code = run(["graph", "net.plan", "-o", "out"])
    if os.geteuid():  # root may write whatever its permissions
        assert code == 2 and "permission denied" in capsys.readouterr().err
        assert (here / "out").read_text(encoding="utf-8") == "mine"
    assert (here / "out").stat().st_mode & 0o777 == 0o444


def test_a_link_stays_a_link_and_permissions_stay(here: Path) -> None:
    (here / "real").write_text("old", encoding="utf-8")
    (here / "real").chmod(0o640)
    (here / "out").symlink_to("real")
    files.write(here / "out", b"new")
    assert (here / "out").is_symlink() and (here / "real").read_bytes() == b"new"
    assert (here / "real").stat().st_mode & 0o777 == 0o640
    mask = os.umask(0o027)
    try:
        files.write(here / "made", b"")
    finally:
        os.umask(mask)
    assert (here / "made").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_remains(
    step: str, error: BaseException, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "out").write_text("old", encoding="utf-8")

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(type(error)):
        files.write(here / "out", b"new")
    monkeypatch.undo()
    assert sorted(path.name for path in here.iterdir()) == ["net.plan", "out"]
    assert (here / "out").read_text(encoding="utf-8") == "old"


LIMITED = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from planform.compiler import files
files.write("small", b"x" * 2000)
try:
    files.write("out", b"x" * 2001)
except OSError as error:
    print(error.strerror, error.filename)
"""


def test_the_disk_is_full(here: Path) -> None:
    """As far as a limit of a file's size says what a full disk would."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60, cwd=here
    )
    assert done.stdout == "File too large out\n", done.stderr
    assert sorted(path.name for path in here.iterdir()) == ["net.plan", "small"]


def test_a_file_that_says_it_is_empty_and_is_not() -> None:
    with pytest.raises(OSError, match="larger than 10 bytes"):
        files.read_bytes("/proc/self/maps", 10)


# ---------------------------------------------------------------- images and checkpoints


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def test_images_that_are_huge_narrow_or_broken(tmp_path: Path) -> None:
    path, spec = tmp_path / "image.png", ImageInput((8, 8))
    for width, height in ((60_000, 60_000), (13_000, 13_000), (2**31 - 1, 2**31 - 1), (0, 0)):
        path.write_bytes(png(width, height))
        with pytest.raises(ValueError):
            spec.read(path, (8, 8), 3)
    Image.new("RGB", (1, 65_000)).save(path)
    with pytest.raises(ValueError, match="too narrow"):
        ImageInput((224, 224)).read(path, (224, 224), 3)
    Image.new("RGB", (40, 30)).save(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            spec.read(path, (8, 8), 3)
        except ValueError as error:
            assert str(path) in str(error)
    for make in (fifo, device, loop):
        path.unlink()
        make(path)
        with pytest.raises(OSError):
            spec.read(path, (8, 8), 3)


def test_a_compressed_checkpoint_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    torch.save({"w": torch.zeros(1 << 20)}, tmp_path / "whole.pt")
    assert read_checkpoint(tmp_path / "whole.pt")["w"].shape == (1 << 20,)
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as given,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for name in given.namelist():
            made.writestr(name, given.read(name))
    with pytest.raises(CheckpointError, match="compressed"):
        read_checkpoint(path)


def test_safetensors_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    heads = [
        b'{"w": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4000000000000]}}',
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}',
        b"[" * 100_000,
    ]
    for head in heads:
        path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(4))
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
    path.write_bytes(struct.pack("<Q", 2**63 - 1))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_chain_that_comes_back_is_a_circle(here: Path) -> None:
    (here / "a.plan").write_text('planform 1\nuse "net.plan" (part)\n', encoding="utf-8")
    (here / "net.plan").write_text('planform 1\nuse "a.plan" (part)\n', encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        PlanFile(here / "net.plan").plan()
    assert {each.code for each in caught.value.diagnostics} == {"E107"}
