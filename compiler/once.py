"""What a process works out once, also when several threads ask for it at the same time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, update_wrapper
from threading import RLock
from typing import Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):
    """A function whose first call makes what every call gives: one object, unlike `functools.cache`."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._kept = cache(make)
        self._lock = RLock()
        update_wrapper(self, make)

    def __call__(self) -> T:
        """What was made."""
        with self._lock:
            return self._kept()

    def forget(self) -> None:
        """Let the next call make it anew."""
        self._kept.cache_clear()
