"""How long something takes by itself, whatever else the process and the machine do."""

from __future__ import annotations

import gc
import time
from types import TracebackType


class Stopwatch:
    """CPU seconds that this thread spends inside `with`.

    Not counted are the pools of threads that other tests left spinning, and the garbage collector, which would walk all that the
    suite has made so far.
    """

    seconds: float

    def __enter__(self) -> Stopwatch:
        self._collecting = gc.isenabled()
        gc.disable()
        self._start = time.thread_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.thread_time() - self._start
        if self._collecting:
            gc.enable()
