"""`use atlas`: published blocks are built upon, and nothing but the networks of the package is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from planform import PlanError, load
from planform.api.locate import examples
from planform.api.plan_file import PlanFile
from planform.dsl.loader import atlas

NET = """planform 1

use atlas "convnets/resnet.plan" (bottleneck)

model net(x: [B, 64, H, W]) {
    return x -> "layer1.0": bottleneck(64)
}

plan p = net()
"""


def checked(folder: Path, text: str) -> tuple[Any, ...]:
    (folder / "pyproject.toml").touch()
    path = folder / "net.plan"
    path.write_text(text, encoding="utf-8")
    try:
        return PlanFile(path).check().diagnostics
    except PlanError as error:
        return error.diagnostics


def test_a_block_of_a_published_network_computes_what_it_does_there(tmp_path: Path, torchvision: Any) -> None:
    assert checked(tmp_path, NET) == ()
    ours = load(tmp_path / "net.plan").to_torch().double().eval()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50().layer1[0].double().eval()
    ours.load_state_dict({f"layer1.0.{name}": value for name, value in theirs.state_dict().items()})
    x = torch.randn(2, 64, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_a_whole_plan_of_the_atlas_is_a_block(tmp_path: Path) -> None:
    text = (
        'planform 1\nuse atlas "convnets/resnet.plan" (resnet18)\nmodel net(x: [B, 3, H, W]) {\n'
        "    return x -> trunk: resnet18(classes=7)\n}\nplan p = net()\n"
    )
    assert checked(tmp_path, text) == ()
    paths = set(load(tmp_path / "net.plan").to_torch().state_dict())
    assert paths == {f"trunk.{path}" for path in load("resnet18").to_torch().state_dict()}


def test_every_network_is_reached_by_the_path_that_the_listing_shows() -> None:
    assert sorted(atlas()) == sorted(f"{path.parent.name}/{path.name}" for path in examples())


@pytest.mark.parametrize(
    "path",
    [
        "../atlas.plan",
        "../../pyproject.plan",
        "/etc/passwd",
        "/etc/passwd.plan",
        "convnets/../convnets/resnet.plan",
        "convnets//resnet.plan",
        "./convnets/resnet.plan",
        "convnets/resnet.plan/",
        "convnets",
        "",
        ".",
        "convnets\\\\resnet.plan",
        "a" * 5000,
        "C:/x.plan",
        "file:///etc/passwd.plan",
        "\x00.plan",
        "\x1b[31m.plan",
        "ＣＯＮＶＮＥＴＳ/resnet.plan",
    ],
)
def test_no_other_path_reaches_anything(path: str, tmp_path: Path) -> None:
    found = checked(tmp_path, NET.replace("convnets/resnet.plan", path))
    assert [problem.code for problem in found] == ["E104"]
    assert found[0].help


@pytest.mark.parametrize(
    ("path", "help"),
    [
        ("convnets/resnett.plan", "`convnets/resnet.plan`"),
        ("convnets/resnet", "`convnets/resnet.plan`"),
        ("resnet.plan", "`convnets/resnet.plan`"),
        ("resnet50", "`convnets/resnet.plan`"),
        ("transformers/resnet.plan", "`convnets/resnet.plan`"),
        ("detection/yolo.plan", "the atlas has `detection/faster_rcnn.plan`, `detection/ssd300.plan`"),
        ("detections/zzz.plan", "`detection`"),
        ("zzz.plan", "its folders are convnets, detection"),
    ],
)
def test_a_path_that_is_not_there_is_answered_with_those_near(path: str, help: str, tmp_path: Path) -> None:
    (found,) = checked(tmp_path, NET.replace("convnets/resnet.plan", path))
    assert help in found.help[0]


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    (found,) = checked(
        tmp_path, NET.replace("(bottleneck)", "(botleneck)").replace(" bottleneck(", " botleneck(")
    )
    assert (found.code, found.help) == ("E106", ("did you mean `bottleneck`?",))
    assert "`atlas/convnets/resnet.plan`" in found.message
    (found,) = checked(tmp_path, NET.replace("(bottleneck)", "(zzz)").replace(" bottleneck(", " zzz("))
    assert "it declares `" in found.help[0] and "`bottleneck`" in found.help[0]


def test_errors_within_a_published_block_show_both_files(tmp_path: Path) -> None:
    text = NET.replace("[B, 64, H, W]", "[B, 64]")
    (found,) = checked(tmp_path, text)
    assert found.code in ("E302", "E305")
    net = NET.replace("bottleneck(64)", "bottleneck(64, stride=0)")
    found = checked(tmp_path, net)[0]
    assert found.primary.span.where.startswith("atlas/convnets/resnet.plan:")
    assert any(note.startswith("in layer1.0, called at ") and "net.plan:6" in note for note in found.notes)


def test_a_file_on_the_users_disk_of_the_same_name_is_another(tmp_path: Path) -> None:
    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas" / "resnet.plan").write_text("planform 1\nwidth = 3\n", encoding="utf-8")
    text = NET.replace("use atlas", 'use "atlas/resnet.plan" (width)\nuse atlas').replace("(64)", "(width)")
    assert checked(tmp_path, text) == ()
    assert load(tmp_path / "net.plan").cost().params != load("resnet50").cost().params


def test_text_without_a_file_reaches_the_atlas_too() -> None:
    assert PlanFile.from_text(NET).check().diagnostics == ()
