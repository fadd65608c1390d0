"""Devices: their figures against published ones, and what cost and kernels make of them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from planform.api.model import Model, load
from planform.api.plan_file import PlanFile
from planform.backends.tvm.cpu.machine import of
from planform.cli.app import app
from planform.compiler.cost import BindingError
from planform.compiler.devices import DEVICES, ZEN4, Cpu, Gpu
from planform.compiler.devices.table import cpu_like, gpu_like
from planform.compiler.dtypes import FLOATS


def test_peaks_by_hand() -> None:
    # Measured: 234 GFLOP/s on both cores, 52 GB/s. The Xeon: 40 cores x 2 units x 16 lanes x 2 x 2.3 GHz.
    assert ZEN4.peak("f32") == pytest.approx(234e9) and ZEN4.peak("f64") == pytest.approx(117e9)
    assert ZEN4.balance() == 2.25 and ZEN4.balance("f16") == 2.25
    assert DEVICES["xeon-8380"].peak("f32") == pytest.approx(5.888e12)
    # Neoverse V1: four pipes of 4 lanes.
    assert DEVICES["graviton3"].peak("f32") == pytest.approx(64 * 4 * 4 * 2 * 2.6e9)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_figures_agree_with_each_other(device: Cpu | Gpu) -> None:
    assert DEVICES[device.name] is device
    assert device.with_near(4096).near == 4096 and device.near >= 64 << 10
    peaks = [device.peak(dtype) for dtype in FLOATS]
    assert min(peaks) > 0 and device.peak("f64") <= device.peak("f32") <= device.peak("f16")
    if isinstance(device, Cpu):
        assert device.l1 < device.l2 < device.l3 and device.lanes("float32") * 4 == device.vector
    else:
        assert device.lanes("float32") == 1 and device.shared < device.l2
        # f32 is 64 or 128 lanes of each processor, at 1.2 to 2.1 GHz.
        clock = device.peak("f32") / 2 / device.processors
        assert any(1.2e9 < clock / lanes < 2.1e9 for lanes in (64, 128))


def load_text(text: str, rows: int) -> Model:
    return Model(PlanFile.from_text(text, "p.plan"), "p", {}, {"N": rows})


def test_a_roofline_by_hand() -> None:
    assert ZEN4.seconds(234e9, 1) == pytest.approx(1.0)
    assert ZEN4.seconds(1, 52e9) == pytest.approx(1.0)
    text = "planform 1\nmodel p(x: [N, 1000]) {\n    return x -> a: linear(1000, bias=false) -> relu()\n}\n"
    few, many = (load_text(text, N).cost().seconds_on(ZEN4) for N in (1, 4096))
    # One row waits for a million weights; 4096 rows are worked on for longer than they are read, but by relu.
    bytes = 4 * (1000 + 1000 * 1000 + 1000) + 4 * 2000
    assert few == (pytest.approx(bytes / 52e9), pytest.approx(bytes / 52e9))
    relu = 4096 * 8000 / 52e9
    assert many == (pytest.approx(2 * 4096 * 1e6 / 234e9 + relu), pytest.approx(relu))


def test_a_time_is_for_numbers() -> None:
    with pytest.raises(BindingError, match="bind them"):
        load("resnet18").cost("deploy").seconds_on(ZEN4)


def test_the_command_tells_the_time() -> None:
    arguments = ["cost", "resnet18", "--mode", "deploy", "--at", "B=1,H=224,W=224", "--device"]
    printed = CliRunner().invoke(app, [*arguments, "zen4"])
    assert printed.exit_code == 0 and "ms on zen4, operator by operator" in printed.output
    data = json.loads(CliRunner().invoke(app, [*arguments, "h100", "--json"]).output)
    # 1.814 GMAC at 67 TFLOP/s, and at most all bytes at 3.35 TB/s besides.
    arithmetic = 2 * 1.814e9 / 67e12
    assert data["device"] == "h100"
    assert arithmetic < data["seconds"] < arithmetic + data["bytes"] / 3.35e12
    assert 0 < data["seconds_of_memory"] < data["seconds"] - 0.9 * arithmetic
    refused = CliRunner().invoke(app, [*arguments, "zen"])
    assert refused.exit_code == 2 and "did you mean `zen4`?" in refused.output + refused.stderr


def test_machines_are_devices() -> None:
    machine = of({"kind": "llvm", "mcpu": "icelake-server", "num-cores": 2}, 48 << 10, 1280 << 10)
    assert isinstance(machine, Cpu) and (machine.ports, machine.threads, machine.vector) == (2, 2, 64)
    assert machine.lanes("float64") == 8 and machine.near == 1280 << 10
    assert cpu_like("no-such-cpu") is ZEN4
    found = {arch: gpu_like(arch).processors for arch in ("sm_75", "sm_80", "sm_86", "sm_90", "sm_103")}
    assert found == {"sm_75": 40, "sm_80": 108, "sm_86": 80, "sm_90": 132, "sm_103": 148}
