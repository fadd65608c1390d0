"""The process of a contestant: `worker.py SIDE NETWORK FOLDER BATCH`, which reads requests line by line.

`{"do": "build"}` compiles and gives the first result; `{"do": "time", "seconds": S}` calls for so long.
`{"do": "prepare", ...}` writes the case instead. It ends when nothing more is asked.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contest.cases import prepare
from contest.contestants import CONTESTANTS, Contestant
from contest.processes import affinity, answers_only

# A turn begins with calls that do not count: other processes have used the caches meanwhile.
WARMING = 0.1
LEAST_CALLS = 3
# A shorter wait between turns, in seconds, says nothing of what threads do while they wait.
LEAST_WAIT = 0.1


class Turns:
    """Answers the requests to one contestant."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.call: Any = None
        # When the last turn ended, in seconds of the process and of the clock. Until the first one others may
        # be building, and how busy this one is says little.
        self.left: tuple[float, float] | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What a request asks for; times of calls in ms, that of compiling in seconds."""
        return self.build() if request["do"] == "build" else self.time(request["seconds"])

    def build(self) -> dict[str, Any]:
        """From a network and its weights in memory to the first result."""
        start = time.perf_counter()
        self.call = self.contestant.build()
        result = self.call()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "error": self.contestant.error(result)}

    def time(self, seconds: float) -> dict[str, Any]:
        """The times of calls, the cores that they kept busy, and the seconds of one that waiting took."""
        idle = 0.0
        if self.left is not None and time.perf_counter() - self.left[1] > LEAST_WAIT:
            idle = time.process_time() - self.left[0]
        end = time.perf_counter() + WARMING
        while True:
            self.call()
            if time.perf_counter() >= end:
                break
        times: list[float] = []
        spent, began = time.process_time(), time.perf_counter()
        while time.perf_counter() < began + seconds or len(times) < LEAST_CALLS:
            start = time.perf_counter()
            self.call()
            times.append((time.perf_counter() - start) * 1e3)
        busy = self._busy(spent, began)
        found = {"threads": self.contestant.threads(), "affinity": affinity()}
        self.left = time.process_time(), time.perf_counter()
        return {"ms": times, "busy": busy, "idle": idle, **found}

    def _busy(self, spent: float, began: float) -> float:
        return (time.process_time() - spent) / (time.perf_counter() - began)


def main() -> None:
    """Answer until nothing more is asked."""
    side, network, folder, batch = sys.argv[1:]
    with answers_only() as answer:
        if side == "prepare":
            request = json.loads(sys.stdin.readline())
            answer(prepare(network, request["batches"], request["sides"], Path(folder)))
            return
        turns = Turns(CONTESTANTS[side](network, Path(folder), int(batch)))
        for line in sys.stdin:
            answer(turns.answer(json.loads(line)))


if __name__ == "__main__":
    main()
