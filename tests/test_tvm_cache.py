"""A cache that is broken, another's or not there: what is in it is made anew, and no command fails of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planform.backends.tvm.codegen import cache
from planform.backends.tvm.codegen.link import compiler
from planform.backends.tvm.errors import BuildError
from support.compiled import compiled, model

X = np.linspace(-1, 1, 2 * 3 * 6 * 5, dtype=np.float32).reshape(2, 3, 6, 5)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nothing(path: Path) -> None:
    path.touch()


def folder(path: Path) -> None:
    path.mkdir()


def noise(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(1000))


def unreadable(path: Path) -> None:
    path.write_bytes(bytes(1000))
    path.chmod(0)


@pytest.mark.parametrize(
    "make", [pipe, loop, zeros, nothing, folder, noise, unreadable], ids=lambda m: m.__name__
)
def test_entries_that_are_none_are_made_anew(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path))
    asked: list[Path] = []
    paths = {"_path": cache._path, "_kernel": cache._kernel}

    def spoiled(name: str, key: str) -> Path | None:
        path = paths[name](key)
        if path is not None and path not in asked:
            asked.append(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
        return path

    for name in paths:
        monkeypatch.setattr(cache, name, lambda key, name=name: spoiled(name, key))
    plan = model().to_tvm(seed=0)
    np.testing.assert_array_equal(plan(X), compiled()(X))
    assert asked
    if make is not folder:
        # What was wrong has been replaced, so that the next build is found.
        assert all(path.is_file() and not path.is_symlink() and path.stat().st_size > 1000 for path in asked)


def test_entries_of_another_user_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path))
    cache.keep("mine", b"code")
    cache.keep_kernel("mine", b"code")
    assert cache.found("mine") is not None and cache.kernel("mine") == b"code"
    if os.geteuid():
        monkeypatch.setattr(cache.os, "geteuid", lambda: os.getuid() + 1)
    else:  # what the system owns is trusted, so the files are given away
        for path in tmp_path.rglob("mine.*"):
            os.chown(path, 12345, 12345)
    assert cache.found("mine") is None and cache.kernel("mine") is None


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/cache", None])
def test_without_a_home_nothing_is_kept(place: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    if place is None:
        monkeypatch.delenv("PLANFORM_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "expanduser", homeless)
        assert cache.folder() is None
    else:
        monkeypatch.setattr(cache, "folder", lambda kind="tvm": Path(place) / kind)
    cache.keep("key", b"content")
    cache.keep_kernel("key", b"content")
    cache.prune_kernels()
    cache.drop("key")
    assert cache.found("key") is None and cache.kernel("key") is None
    np.testing.assert_array_equal(
        model("two").to_tvm(seed=0)(X[0, 0, :, :1].repeat(8, 1), X[0, 0, :, :1].repeat(8, 1))["total"],
        2 * X[0, 0, :, :1].repeat(8, 1),
    )


def test_pruning_goes_on_past_what_it_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "CAPACITY", 100)
    (tmp_path / "tvm").mkdir()
    loop(tmp_path / "tvm" / "loop.plank")
    (tmp_path / "tvm" / "old.plank").write_bytes(bytes(200))
    os.utime(tmp_path / "tvm" / "old.plank", (1, 1))
    cache.keep("new", bytes(50))
    assert not (tmp_path / "tvm" / "old.plank").exists() and (tmp_path / "tvm" / "new.plank").exists()


def test_a_quote_that_is_not_closed_in_cc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc 'unclosed")
    with pytest.raises(BuildError, match="the variable CC is no command") as caught:
        compiler("x86_64")
    assert caught.value.code == "E704"
    monkeypatch.setenv("CC", "  ")
    assert compiler("x86_64")
