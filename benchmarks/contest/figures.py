"""From times to ratios: of a contestant to the best of its peers, and of a gap that is closed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

OURS = "planform"
PEERS = ("eager", "inductor", "onnxruntime", "openvino")
GOAL_WORST, GOAL_MEAN, GOAL_3X3, GOAL_COMPILE = 1.05, 0.90, 0.80, 0.25
# Below this part of the multiply-adds a network is not one of 3x3 convolutions.
DOMINANT = 0.6

Entrant = tuple[str, str]


@dataclass
class Case:
    """A network at a batch. `times` holds by runtime and setting of malloc the median of each process, in ms.

    `floor` is what the multiply-adds take at the peak, in ms; `share` is the part of them in 3x3 convolutions
    of all channels. `compile` is in seconds, from a network in memory to the first result, with nothing
    cached. `failed` says by runtime why it has no times. `date` is the day on which it was measured, `commit`
    what the project stood at, empty where that is not known.
    """

    network: str
    batch: int
    floor: float | None = None
    share: float = 0.0
    times: dict[Entrant, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    compile: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    date: str = ""
    commit: str = ""

    def latency(self, entrant: Entrant) -> float:
        """The median over processes, in ms."""
        return statistics.median(self.times[entrant])

    def best(self, side: str) -> Entrant | None:
        """A runtime in the setting of malloc in which it is faster."""
        return min((each for each in self.times if each[0] == side), key=self.latency, default=None)

    @property
    def peer(self) -> Entrant | None:
        """The fastest of the others, in its better setting."""
        return min((each for each in self.times if each[0] != OURS), key=self.latency, default=None)

    @property
    def ours(self) -> Entrant | None:
        """The setting in which ours counts: the one that a process has by itself."""
        entrant = OURS, "default"
        return entrant if entrant in self.times else None

    @property
    def ratio(self) -> float | None:
        """Our latency to that of the best peer."""
        if self.ours is None or self.peer is None:
            return None
        return self.latency(self.ours) / self.latency(self.peer)

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the greatest ratio of processes that ran at the same time."""
        if self.ours is None or self.peer is None:
            return None
        # A peer that is no longer started ran beside our first processes.
        pairs = zip(self.times[self.ours], self.times[self.peer], strict=False)
        ratios = [ours / peer for ours, peer in pairs]
        return min(ratios), max(ratios)

    @property
    def closed(self) -> float | None:
        """The part of the gap between the floor and the best peer that is closed; above 1 beneath the floor.

        None where the peer is at the floor itself.
        """
        if self.ours is None or self.peer is None or self.floor is None:
            return None
        gap = self.latency(self.peer) - self.floor
        return (self.latency(self.peer) - self.latency(self.ours)) / gap if gap > 0 else None

    def hopeless(self, entrant: Entrant, factor: float) -> bool:
        """Whether a peer is so much slower than the fastest one that it cannot become it."""
        if entrant[0] == OURS or self.peer is None:
            return False
        return self.latency(entrant) > factor * self.latency(self.peer)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "network": self.network,
            "batch": self.batch,
            "date": self.date,
            "commit": self.commit,
            "floor_ms": self.floor,
            "share_of_3x3": self.share,
            "ms": {f"{side} {malloc}": times for (side, malloc), times in self.times.items()},
            "error": self.errors,
            "compile_s": self.compile,
            "failed": self.failed,
            "peer": self.peer and self.peer[0],
            "ratio": self.ratio,
            "spread": self.spread,
            "gap_closed": self.closed,
        }

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> Case:
        """A case as `to_dict` gives it."""
        return Case(
            network=found["network"],
            batch=found["batch"],
            floor=found["floor_ms"],
            share=found["share_of_3x3"],
            times={tuple(entrant.split()): ms for entrant, ms in found["ms"].items()},
            errors=found["error"],
            compile=found["compile_s"],
            failed=found["failed"],
            date=found["date"],
            commit=found["commit"],
        )


def mean(cases: Sequence[Case]) -> float | None:
    """The geometric mean of the ratios; infinite where one of ours failed, None where nothing is compared."""
    if any(OURS in case.failed for case in cases):
        return inf
    ratios = [case.ratio for case in cases if case.ratio is not None]
    return statistics.geometric_mean(ratios) if ratios else None


def judge(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The goals, which are of batch 1, and whether they are met."""
    single = [case for case in cases if case.batch == 1]
    goals: list[dict[str, Any]] = []

    def goal(text: str, value: float | None, most: float) -> None:
        if value is not None:
            goals.append({"text": text, "value": value, "most": most, "met": value <= most})

    ratios = {case.network: inf if OURS in case.failed else case.ratio for case in single}
    known = {network: ratio for network, ratio in ratios.items() if ratio is not None}
    if known:
        worst = max(known, key=lambda network: known[network])
        goal(f"the worst ratio to the best peer, that of {worst}", known[worst], GOAL_WORST)
    goal("the geometric mean of the ratios", mean(single), GOAL_MEAN)
    dominated = [case for case in single if case.share >= DOMINANT]
    goal("the same where 3x3 convolutions dominate", mean(dominated), GOAL_3X3)
    compiled = compile_ratios(single)
    if compiled:
        slowest = max(compiled, key=lambda network: compiled[network])
        goal(
            f"the worst ratio of compiling to torch.compile, that of {slowest}",
            compiled[slowest],
            GOAL_COMPILE,
        )
    return goals


def compile_ratios(cases: Sequence[Case]) -> Mapping[str, float]:
    """The time to the first result beside that of `torch.compile`, by network."""
    both = [case for case in cases if {OURS, "inductor"} <= case.compile.keys()]
    return {case.network: case.compile[OURS] / case.compile["inductor"] for case in both}
