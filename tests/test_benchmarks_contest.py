"""The contest of runtimes: its arithmetic, its report, and its processes; no time is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from math import inf
from pathlib import Path
from xml.etree import ElementTree

import pytest

from contest.figures import Case, compile_ratios, judge, mean
from contest.kept import read, write
from contest.peak import measure_peak
from contest.processes import MALLOC, Worker, WorkerError, check, environment
from contest.report import markdown, picture

FILE = Path(__file__).parents[1] / "benchmarks/tvm_cpu.py"
OURS = "planform", "default"
ABOUT = {
    "command": "python benchmarks/tvm_cpu.py",
    "cpu": "A processor",
    "cores": 2,
    "threads": 2,
    "processes": 3,
    "rounds": 5,
    "seconds": 0.4,
    "drop": 1.5,
    "versions": {"torch": "2.13.0"},
    "peak_gmacs": 117.0,
    "sides": ["planform", "eager", "openvino"],
    "missing": {"onnxruntime": ["onnx"]},
    "kept": 0,
}


def case(network: str = "net", batch: int = 1, ours: float = 6.0, share: float = 0.0) -> Case:
    return Case(
        network,
        batch,
        floor=4.0,
        share=share,
        times={
            OURS: [ours, 9.0, ours - 1],
            ("eager", "default"): [20.0, 30.0, 25.0],
            ("eager", "raised"): [9.0, 16.0, 12.0],
            ("openvino", "default"): [8.0, 9.0, 7.0],
            ("openvino", "raised"): [9.0, 10.0, 1.0],
        },
        errors={"planform": 2e-6, "eager": 1e-6, "openvino": 3e-6},
        compile={"planform": 3.0, "inductor": 20.0, "openvino": 0.5},
        date="2026-01-02",
        commit="abc1234",
    )


def test_the_best_peer_counts_in_its_better_setting() -> None:
    found = case()
    assert found.best("eager") == ("eager", "raised")
    assert found.best("onnxruntime") is None
    assert found.peer == ("openvino", "default")
    assert found.ratio == pytest.approx(6 / 8)
    assert found.spread == pytest.approx((5 / 7, 1.0))
    assert found.closed == pytest.approx((8 - 6) / (8 - 4))


def test_ours_counts_in_the_setting_that_processes_have() -> None:
    found = case()
    found.times["planform", "raised"] = [1.0, 1.0, 1.0]
    assert found.ratio == pytest.approx(6 / 8)


def test_only_peers_that_are_far_behind_are_left_out() -> None:
    found = case(ours=100.0)
    assert not found.hopeless(OURS, 1.5)
    assert [each for each in found.times if found.hopeless(each, 1.5)] == [("eager", "default")]
    assert found.hopeless(("eager", "raised"), 1.4)


def test_what_is_absent_has_no_ratio() -> None:
    alone = Case("net", 1, floor=4.0, times={OURS: [6.0]})
    assert alone.peer is alone.ratio is alone.spread is alone.closed is None
    without = case()
    del without.times[OURS]
    assert without.ratio is without.closed is None
    at_floor = case()
    at_floor.floor = 8.0
    assert at_floor.closed is None


def test_goals_are_of_batch_1() -> None:
    cases = [case(ours=8.0), case("wide", ours=4.0, share=0.9), case("other", batch=8, ours=80.0)]
    goals = {goal["text"]: (goal["value"], goal["met"]) for goal in judge(cases)}
    assert goals == {
        "the worst ratio to the best peer, that of net": (pytest.approx(1.0), True),
        "the geometric mean of the ratios": (pytest.approx((1.0 * 0.5) ** 0.5), True),
        "the same where 3x3 convolutions dominate": (pytest.approx(0.5), True),
        "the worst ratio of compiling to torch.compile, that of net": (pytest.approx(0.15), True),
    }
    assert compile_ratios(cases[:1]) == {"net": pytest.approx(0.15)}


def test_a_network_that_fails_meets_no_goal() -> None:
    lost = Case("lost", 1, failed={"planform": "no kernel"})
    assert mean([case(), lost]) == inf
    assert [goal["met"] for goal in judge([case(), lost])] == [False, False, True]
    assert judge([]) == []


def test_a_report_shows_every_network_and_what_failed() -> None:
    lost = Case("lost", 8, failed={"planform": "no kernel"})
    cases = [case(), case(batch=8, ours=12.0), lost]
    text = markdown(ABOUT, cases, judge(cases))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert "| net | 4.0 | 12.00+ | **8.00** | 6.00 | 0.750 | 0.71 to 1.00 | 50% | 2e-06 | 3e-06 |" in text
    assert "- lost, batch 8, planform: no kernel" in text
    assert "- onnxruntime: onnx not installed" in text
    assert ": abc1234 (2), not recorded (1).\n" in text
    assert " (1). 2 rows are of runs before this one.\n" in markdown(ABOUT | {"kept": 2}, cases, [])


def test_a_contest_is_gone_on_with_only_as_it_was_begun(tmp_path: Path) -> None:
    file, lost = (
        tmp_path / "figures.json",
        Case("lost", 8, failed={"planform": "no kernel"}, date="2026-01-03"),
    )
    assert read(file, ABOUT) == []
    write(file, ABOUT, [case(), lost])
    # Others may be compared with at another batch.
    for same in ({"command": "another", "peak_gmacs": 100.0}, {"sides": ["planform", "openvino"]}):
        assert read(file, ABOUT | same) == [case(), lost]
    for other in ({"processes": 4}, {"rounds": 2}, {"versions": {"torch": "2.12.0"}}):
        assert read(file, ABOUT | other) == []
    assert "\n2026-01-02 to 2026-01-03. A processor" in markdown(ABOUT, [case(), lost], [])
    assert [each.name for each in tmp_path.iterdir()] == ["figures.json"]


def test_the_picture_has_a_bar_for_each_ratio() -> None:
    cases = [case(), case(batch=8), case("a<b"), Case("lost", 8, failed={"planform": "no kernel"})]
    root = ElementTree.fromstring(picture(cases))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts.count("0.75") == 3
    assert texts.count("not measured") == 1
    assert {"net", "a<b", "lost", "batch 1", "batch 8"} <= set(texts)


def test_workers_have_the_same_threads_and_their_own_malloc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    plain, raised = environment(3), environment(3, "raised", MORE="1")
    assert {plain[name] for name in ("OMP_NUM_THREADS", "TVM_NUM_THREADS")} == {"3"}
    assert not [name for name in plain if name.startswith("MALLOC_")]
    assert {name: raised[name] for name in MALLOC["raised"]} == MALLOC["raised"]
    assert raised["MORE"] == "1"


def test_a_worker_answers_and_tells_why_it_died() -> None:
    told = "import json, sys\nfor line in sys.stdin:\n print(json.dumps(json.loads(line)['value']), flush=True)\n"
    with Worker("echo", [sys.executable, "-c", told], environment(1)) as worker:
        assert worker.ask({"value": {"seven": 7}}) == {"seven": 7}
        with pytest.raises(WorkerError, match=r"^echo: KeyError: 'value'$"):
            worker.ask({})
    crash = "import os\ninput()\nos.abort()\n"
    with (
        Worker("crash", [sys.executable, "-c", crash], environment(1)) as worker,
        pytest.raises(WorkerError, match=r"^crash: ended with -6$"),
    ):
        worker.ask({})


def test_a_worker_that_hangs_is_ended() -> None:
    line = [sys.executable, "-c", "import time\ntime.sleep(600)"]
    with (
        Worker("slow", line, environment(1)) as worker,
        pytest.raises(WorkerError, match=r"^slow: no answer within 0 s$"),
    ):
        worker.ask({}, limit=0.1)
    assert worker.process.returncode == -9


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"threads": 1}, "net ran 1 threads on cores"),
        ({"affinity": [0]}, r"net ran 2 threads on cores \[0\]"),
        ({"busy": 2.5}, "kept 2.50 cores busy with 2 threads"),
        ({"idle": 0.5}, "took 0.50 s of a core while others"),
    ],
)
def test_other_threads_or_cores_do_not_count(answer: dict[str, object], told: str) -> None:
    right = {"threads": 2, "affinity": [0, 1], "busy": 1.9, "idle": 0.0}
    check("net", right, 2, [0, 1])
    with pytest.raises(WorkerError, match=told):
        check("net", right | answer, 2, [0, 1])


def test_the_peak_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert measure_peak(1, tmp_path) is None


@pytest.mark.slow
def test_a_network_is_measured_beside_eager() -> None:
    if find_spec("timm") is None or find_spec("tvm") is None:
        pytest.skip("timm or TVM is not installed")
    options = (
        "--quick --json --processes 1 --rounds 1 --seconds 0.05 --threads 1 --side eager --side planform"
    )
    line = [sys.executable, str(FILE), *options.split(), "mobilenetv2_035"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    (one,) = found["cases"]
    assert one["failed"] == {}
    assert set(one["ms"]) == {"planform default", "eager default", "eager raised"}
    assert max(one["error"].values()) < 1e-4
    assert one["ratio"] > 0
    assert one["compile_s"].keys() == {"planform", "eager"}
