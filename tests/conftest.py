"""Settings and fixtures of all tests. Nothing here imports torch until a test asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import settings

from support.torchvision_shim import import_timm, import_torchvision

# Tests run in several processes on few cores; must be set before the first import of torch or TVM.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TVM_NUM_THREADS", "1")

# `make test` repeats the same examples and `make test-all` draws new ones. Tests bound time themselves.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("sweep", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("gate")


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """The torchvision package, an oracle."""
    return import_torchvision()


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    """The timm package, an oracle."""
    return import_timm()


@pytest.fixture(scope="session", autouse=True)
def poisoned() -> Iterator[None]:
    """Compiled plans run in memory that is NaN until it is written, between pages that cannot be read."""
    from support.poison import installed

    with installed():
        yield
