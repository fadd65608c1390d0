"""Weight paths: tables of them, claims on them, and the renamings that explain a checkpoint's names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

import planform
from planform.backends.torch.rename import parse_rules, rename
from planform.backends.torch.renamings import Shape, suggest
from planform.cli.app import run as run_command_line

PLAN = """planform 1

model network(x: [B, 4, H, W]) {
    for i in range(3) {
        x = x -> "blocks.{i}.conv": conv(4, 3, pad=1) -> "blocks.{i}.norm": batch_norm() -> relu()
    }
    return x -> mean([2, 3]) -> head: linear(10)
}

plan net = network()

claim net: weights == "NAME"
"""
TABLE = "".join(
    f"blocks.{i}.conv.weight [4, 4, 3, 3]\nblocks.{i}.norm.weight [4]\nblocks.{i}.norm.bias\n"
    f"blocks.{i}.norm.running_mean [4]\nblocks.{i}.norm.running_var [4]\n"
    for i in range(3)
) + "head.weight [10, 4]  # the classifier\n\nhead.bias [10]\n"  # fmt: skip


def written(folder: Path, name: str = "net.keys", table: str | None = TABLE) -> planform.PlanFile:
    (folder / "net.plan").write_text(
        PLAN.replace("plan net", "plan small").replace("claim net", "claim small").replace("NAME", name),
        encoding="utf-8",
    )
    if table is not None:
        (folder / name).write_text(table, encoding="utf-8")
    return planform.PlanFile(folder / "net.plan")


def test_a_claim_on_weights_that_holds(tmp_path: Path) -> None:
    report = written(tmp_path).check()
    # Counters of batches may be lacking, as `weights bind` lets them; there are three of them besides.
    assert report.ok and report.claims[0].got == TABLE.count("\n") - 1 + 3
    assert report.claims[0].to_dict()["wanted"] == "net.keys"


@pytest.mark.parametrize(
    ("old", "new", "what", "note"),
    [
        ("blocks.1.conv.weight", "blocks.1.conv.kernel", "1 lacking, 1 not there", "the plan lacks `blocks.1.conv.kernel`"),
        ("head.bias [10]\n", "", "1 not there", "the file lacks `head.bias`"),
        ("head.weight [10, 4]", "head.weight [4, 10]", "1 of another shape", "`head.weight` is [10, 4], and [4, 10] there"),
    ],
)  # fmt: skip
def test_a_claim_on_weights_that_fails(tmp_path: Path, old: str, new: str, what: str, note: str) -> None:
    report = written(tmp_path, table=TABLE.replace(old, new)).check()
    (found,) = report.diagnostics
    assert found.code == "E605" and not report.ok
    assert found.message == f"small: its weights are not those of net.keys: {what}"
    assert note in found.notes


@pytest.mark.parametrize(
    ("name", "table", "reason"),
    [
        ("net.keys", None, "no such file"),
        ("../net.keys", None, "not in the plan's project"),
        ("/etc/hosts", None, "not in the plan's project"),
        ("net.json", "{}", "none of .keys"),
        ("net.keys", "a b c\n", "line 1 is not of the form"),
        ("net.keys", "a [1]\na [1]\n", "line 2 names `a` again"),
        ("net.safetensors", "abc", "not a safetensors file"),
        ("fifo.keys", None, "not a file of text"),
        ("loop.keys", None, ""),
        ("zero.keys", None, "not in the plan's project"),
        ("a" * 5000 + ".keys", None, "name too long"),
    ],
)
def test_files_of_claims_are_read_safely(tmp_path: Path, name: str, table: str | None, reason: str) -> None:
    os.mkfifo(tmp_path / "fifo.keys")
    (tmp_path / "loop.keys").symlink_to("loop.keys")
    (tmp_path / "zero.keys").symlink_to("/dev/zero")
    found = written(tmp_path, name, table).check().diagnostics
    assert [each.code for each in found] == ["E606"] and reason in found[0].message


def test_a_claim_on_a_safetensors_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = written(tmp_path, "net.safetensors", None)
    module = planform.Model(file, "small", {}).to_torch()
    save_file(module.state_dict(), tmp_path / "net.safetensors")
    assert file.check().ok


def test_lists_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = planform.Model(written(tmp_path), "small", {}).to_torch()
    torch.save(module.state_dict(), tmp_path / "net.pt")
    plan, checkpoint = str(tmp_path / "net.plan"), str(tmp_path / "net.pt")
    lists: list[str] = []
    for address in (plan, checkpoint):
        assert run_command_line(["weights", "list", address, "--keys"]) == 0
        lists.append(capsys.readouterr().out)
    assert lists[0] == lists[1]
    assert [line.split()[0] for line in lists[0].splitlines()] == list(module.state_dict())
    # What is listed is what a claim reads.
    assert written(tmp_path, table=lists[0]).check().ok
    assert run_command_line(["weights", "list", plan]) == 0
    assert (
        "head.weight                        [10, 4]       float  param   fan_in_uniform()\n"
        in capsys.readouterr().out
    )
    assert run_command_line(["weights", "list", plan, "--json"]) == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)["weights"]}
    assert rows["blocks.0.norm.running_var"]["kind"] == "buffer" and rows["head.weight"]["shape"] == [10, 4]


# ---------------------------------------------------------------- renamings

Names = dict[str, Shape]


def transformer(
    block: str, attn: str, names: tuple[str, ...], head: str, first: int = 0, depth: int = 12
) -> Names:
    """The weights of a transformer under some names; `names` are of two norms and two linear maps."""
    table: Names = {}
    for i in range(first, first + depth):
        at = block.format(i)
        for norm in names[:2]:
            table |= {f"{at}.{norm}.weight": (8,), f"{at}.{norm}.bias": (8,)}
        table |= {f"{at}.{attn}.{part}.weight": (8, 8) for part in ("q", "k", "v", "proj")}
        table |= {f"{at}.{names[2]}.weight": (32, 8), f"{at}.{names[3]}.weight": (8, 32)}
    return table | {f"{head}.weight": (10, 8)}


OURS = transformer("blocks.{}", "attn", ("norm1", "norm2", "mlp.fc1", "mlp.fc2"), "head")
OTHERS: list[tuple[Names, list[str]]] = [
    (
        transformer("layers.{}", "attention", ("norm1", "norm2", "mlp.fc1", "mlp.fc2"), "head"),
        ["layers -> blocks", "blocks.{i}.attention -> blocks.{i}.attn"],
    ),
    (
        transformer("stage{}", "attn", ("norm1", "norm2", "mlp.fc1", "mlp.fc2"), "head", first=1),
        ["stage{i} -> blocks.{i-1}"],
    ),
    (
        transformer("encoder.h.{}", "self_attn", ("ln_1", "ln_2", "ffn.up", "ffn.down"), "classifier"),
        [
            "encoder.h.{i}.self_attn -> blocks.{i}.attn",
            "encoder.h.{i}.ln_{j} -> blocks.{i}.norm{j}",
            "encoder.h.{i}.ffn.up -> blocks.{i}.mlp.fc1",
            "encoder.h.{i}.ffn.down -> blocks.{i}.mlp.fc2",
            "classifier -> head",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "rules"), OTHERS, ids=[rules[0] for _, rules in OTHERS])
def test_renamings_explain_all_names(theirs: Names, rules: list[str]) -> None:
    kept = [name for name in theirs if name in OURS]
    missing = {path: shape for path, shape in OURS.items() if path not in theirs}
    extra = {name: shape for name, shape in theirs.items() if name not in OURS}
    found = suggest(missing, extra, kept)
    assert [str(rule) for rule in found.rules] == rules
    # The rules are those of the table that `--rename` reads, and give a bijection with equal shapes.
    renamed = rename(theirs, parse_rules("\n".join(map(str, found.rules))))
    assert {new: theirs[old] for old, new in renamed.items()} == OURS
    # Projections of one shape go to those of their name, not to those in their place.
    for old, new in renamed.items():
        assert new is not None and [part for part in "qkv" if f".{part}." in old] == [
            part for part in "qkv" if f".{part}." in new
        ]


def test_renamings_say_nothing_where_nothing_is_known() -> None:
    # Half of the layers: which of them are meant?
    deeper = transformer("h.{}", "attn", ("norm1", "norm2", "mlp.fc1", "mlp.fc2"), "head", depth=24)
    assert suggest({k: v for k, v in OURS.items() if k != "head.weight"}, deeper, ["head.weight"]).names == {}
    assert suggest({"a.weight": (3, 4)}, {"b.weight": (4, 3)}).rules == ()
    # A rule may not touch what fits.
    found = suggest({"a.new.weight": (4, 3)}, {"a.old.weight": (4, 3)}, ["a.old.bias", "a.old2.weight"])
    for rule in found.rules:
        assert not rule.apply("a.old.bias")[0]


def test_bind_prints_few_renamings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path)
    module = planform.Model(file, "small", {}).to_torch()
    wrong = {
        name.replace("blocks.", "net.layers.").replace(".norm.", ".bn."): value
        for name, value in module.state_dict().items()
    }
    torch.save({**wrong, "extra.weight": torch.zeros(3)}, tmp_path / "net.pt")
    arguments = ["weights", "bind", str(tmp_path / "net.plan"), str(tmp_path / "net.pt")]
    assert run_command_line(arguments) == 1
    done = capsys.readouterr()
    assert "18 names differ as these rules say" in done.err and len(done.err.splitlines()) < 10
    assert "error: extra: extra.weight\n" in done.err
    rules = [line.strip() for line in done.err.splitlines() if " -> " in line]
    assert len(rules) == 2
    (tmp_path / "map").write_text("\n".join([*rules, "extra -> -"]), encoding="utf-8")
    assert run_command_line([*arguments, "--rename", str(tmp_path / "map")]) == 0
    capsys.readouterr()
    assert run_command_line([*arguments, "--json"]) == 1
    assert [
        f"{rule['old']} -> {rule['new']}" for rule in json.loads(capsys.readouterr().out)["renamings"]
    ] == rules
