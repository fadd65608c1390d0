"""Reading checkpoints, renaming their tensors and binding them to plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

import planform
from planform.api.model import Model
from planform.backends.torch.checkpoints import CheckpointError, read_checkpoint
from planform.backends.torch.rename import RenameError, Rule, parse_rules, read_rules, rename
from planform.backends.torch.weights import BindError, bind, load_weights

NET = """planform 1
model small(image: [B, 3, H, W]) -> [B, 5] {
    x = image -> conv1: conv(4, 3) -> bn1: batch_norm() -> relu()
    return x -> global_avg_pool() -> fc: linear(5)
}
plan net = small()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    file = tmp_path_factory.mktemp("plans") / "net.plan"
    file.write_text(NET)
    return planform.load(file)


def reference() -> nn.Module:
    """The same network by torch.nn, with torch's names."""
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(3, 4, 3, bias=False))
    net.add_module("bn1", nn.BatchNorm2d(4))
    net.add_module("act", nn.ReLU())
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    net.add_module("fc", nn.Linear(4, 5))
    return net.eval()


# ------------------------------------------------------------ bind


def test_a_fitting_checkpoint_binds_and_computes_the_same(model: Model) -> None:
    net, ours = reference(), model.to_torch().eval()
    report = load_weights(ours, model.program, net.state_dict())
    assert report.ok
    assert set(report.tensors) == set(net.state_dict())
    x = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), net(x))


def test_missing_extra_and_misshapen_weights_are_named(model: Model) -> None:
    state = reference().state_dict()
    del state["bn1.weight"]
    state["head.weight"] = torch.zeros(2)
    state["fc.weight"] = torch.zeros(7, 4)
    state["fc.bias"] = torch.zeros(5, dtype=torch.int8)
    report = bind(model.program, state)
    assert not report.ok
    assert report.missing == ("bn1.weight",)
    assert report.extra == ("head.weight",)
    assert [str(misfit) for misfit in report.misshapen] == ["fc.weight is [7, 4], and must be [5, 4]"]
    assert [str(misfit) for misfit in report.mistyped] == ["fc.bias is int8, and must be float"]
    found = report.to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["misshapen"][0] == {
        "path": "fc.weight",
        "name": "fc.weight",
        "wanted": "[5, 4]",
        "got": "[7, 4]",
    }


def test_nothing_is_loaded_unless_all_fits(model: Model) -> None:
    ours = model.to_torch()
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    state = reference().state_dict()
    del state["fc.bias"]
    with pytest.raises(BindError, match=r"missing: fc\.bias") as caught:
        load_weights(ours, model.program, state)
    assert caught.value.report.missing == ("fc.bias",)
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())


def test_a_checkpoint_without_batch_counters_binds(model: Model) -> None:
    state = reference().state_dict()
    del state["bn1.num_batches_tracked"]
    report = bind(model.program, state)
    assert report.ok
    assert report.tensors["bn1.num_batches_tracked"].item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_width_bind(model: Model, dtype: torch.dtype) -> None:
    ours = model.to_torch()
    state = reference().to(dtype).state_dict()
    load_weights(ours, model.program, state)
    assert ours.fc.weight.dtype == torch.float32
    torch.testing.assert_close(ours.fc.weight.detach(), state["fc.weight"].float())


# ------------------------------------------------------------ renaming


@pytest.mark.parametrize(
    ("rule", "name", "wanted"),
    [
        ("features.0.0 -> conv_stem", "features.0.0.weight", "conv_stem.weight"),
        ("features.0 -> stem", "features.0", "stem"),
        ("features.1 -> stem", "features.10.weight", "features.10.weight"),
        ("features.{i}.{j} -> blocks.{i-1}.{j}", "features.3.0.conv.weight", "blocks.2.0.conv.weight"),
        ("layer{n} -> stages.{n - 1}", "layer4.2.bias", "stages.3.2.bias"),
        ("a.{x}.b -> {x}.{x}", "a.q.b.w", "q.q.w"),
        ("block.{i} -> b{i+10}", "block.7.w", "b17.w"),
        ("a.{x}.c -> d", "a.b.b.c", "a.b.b.c"),
        ("head -> -", "head.weight", None),
        ("head -> -", "header.weight", "header.weight"),
    ],
)
def test_rule(rule: str, name: str, wanted: str | None) -> None:
    (parsed,) = parse_rules(rule)
    assert parsed.apply(name)[1] == wanted
    assert parse_rules(str(parsed)) == (parsed,)


def test_rules_apply_one_after_the_other() -> None:
    rules = parse_rules(
        """
        # a block, then its parts
        features.{n}.conv.0 -> features.{n}.conv_pw   # expansion
        features.2 -> blocks.1.0
        """
    )
    assert rename(["features.2.conv.0.weight"], rules) == {
        "features.2.conv.0.weight": "blocks.1.0.conv_pw.weight"
    }


def test_maps_may_be_json(tmp_path: Path) -> None:
    wanted = (Rule("a.{i}", "b.{i}"), Rule("c", None))
    assert parse_rules('{"a.{i}": "b.{i}", "c": null}') == wanted
    file = tmp_path / "map.json"
    file.write_text('[["a.{i}", "b.{i}"], ["c", null]]')
    assert read_rules(file) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "line 1: `a b` is not of the form"),
        ("a -> b\n-> c", "line 2"),
        ("a -> {i}", r"\{i\} does not stand on the left"),
        ("a.{i}.{i} -> b", "a field stands twice"),
        ("a.{i -> b", "the left side is a name"),
        ("a.{i+1} -> b", "the left side is a name"),
        ("a -> b}", "the right side is a name"),
        ("a.* -> b", "the left side is a name"),
        ("{", "not JSON"),
        ("[1, 2]", "not a pair of texts"),
        ('{"a": 3}', "not a pair of texts"),
    ],
)
def test_bad_map(text: str, message: str) -> None:
    with pytest.raises(RenameError, match=message):
        parse_rules(text)


def test_a_rule_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(RenameError, match="`b -> c` matches no tensor"):
        rename(["a.weight"], parse_rules("a -> d\nb -> c"))


def test_two_tensors_cannot_become_one() -> None:
    with pytest.raises(RenameError, match=r"`a\.w` and `b\.w` both become `c\.w`"):
        rename(["a.w", "b.w"], parse_rules("a -> c\nb -> c"))


def test_counting_from_a_word_is_an_error() -> None:
    with pytest.raises(RenameError, match=r"is `x` in `a\.x\.w`, not a number"):
        rename(["a.x.w"], parse_rules("a.{i} -> a.{i+1}"))


def test_bind_renames_and_reports_the_checkpoints_names(model: Model) -> None:
    state = {f"net.{name}": tensor for name, tensor in reference().state_dict().items()}
    state["net.fc.weight"] = torch.zeros(1, 4)
    state["optimizer.step"] = torch.zeros(())
    state["junk"] = torch.zeros(1)
    rules = parse_rules("net.conv1 -> conv1\nnet.bn1 -> bn1\nnet.fc -> fc\noptimizer -> -")
    report = bind(model.program, state, rules)
    assert report.extra == ("junk",)
    assert report.dropped == ("optimizer.step",)
    assert [str(misfit) for misfit in report.misshapen] == [
        "fc.weight (from net.fc.weight) is [1, 4], and must be [5, 4]"
    ]


NAMES = st.text(alphabet="ab1.{}i+-> #", max_size=24)


@given(NAMES, st.lists(NAMES, max_size=4, unique=True))
@settings(max_examples=300)
def test_any_text_is_a_map_or_an_error(text: str, names: list[str]) -> None:
    try:
        rules = parse_rules(text)
        rename(names, rules)
    except RenameError:
        return
    for rule in rules:
        assert any(rule.apply(name)[0] for name in names) or len(rules) > 1


# ------------------------------------------------------------ files


def _wrapped(key: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda state: {key: state, "epoch": 3, "args": {"lr": 0.1}}


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        _wrapped("state_dict"),
        _wrapped("model"),
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["plain", "state_dict", "model", "distributed", "compiled"],
)
def test_torch_files(wrap: Callable[[dict[str, Tensor]], Any], tmp_path: Path) -> None:
    state = reference().state_dict()
    torch.save(wrap(state), tmp_path / "net.pt")
    found = read_checkpoint(tmp_path / "net.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_safetensors_files(model: Model, tmp_path: Path) -> None:
    state = reference().state_dict()
    save_file(state, tmp_path / "net.safetensors")
    assert bind(model.program, read_checkpoint(tmp_path / "net.safetensors")).ok


class Trap:
    """Runs code where it is unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Trap(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="holds more than weights"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_the_message_names_the_code_and_does_not_advise_to_run_it(tmp_path: Path) -> None:
    torch.save({"weight": Trap(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"`pathlib\.Path\.touch`|`pathlib|`getattr`") as found:
        read_checkpoint(tmp_path / "evil.pt")
    assert "weights_only" not in str(found.value)


def test_files_cut_short_are_named(tmp_path: Path) -> None:
    torch.save(reference().state_dict(), tmp_path / "net.pt")
    content = (tmp_path / "net.pt").read_bytes()
    for part in (2, 3, 10):
        (tmp_path / "cut.pt").write_bytes(content[: len(content) // part])
        with pytest.raises(CheckpointError, match=r"cut\.pt"):
            read_checkpoint(tmp_path / "cut.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ""])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x02", b"PK\x03\x04" + bytes(40), bytes(200)])
def test_what_is_no_checkpoint_is_an_error(suffix: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"net{suffix}"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="net"):
        read_checkpoint(file)


def test_damaged_files_are_errors_or_weights(tmp_path: Path) -> None:
    """Flip bytes of a good file: nothing but a clean error, or tensors."""
    torch.save(reference().state_dict(), tmp_path / "net.pt")
    good = (tmp_path / "net.pt").read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        at = int(torch.randint(len(good), (), generator=generator))
        flipped = bytearray(good)
        flipped[at] ^= int(torch.randint(1, 256, (), generator=generator))
        (tmp_path / "net.pt").write_bytes(bytes(flipped))
        try:
            found = read_checkpoint(tmp_path / "net.pt")
        except CheckpointError:
            continue
        assert all(isinstance(tensor, Tensor) for tensor in found.values())


@pytest.mark.parametrize("content", [[1, 2], {"weight": "text"}, {3: torch.zeros(1)}, torch.zeros(2)])
def test_what_is_not_weights_by_name_is_an_error(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"not (a tensor|weights by name)"):
        read_checkpoint(tmp_path / "net.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_checkpoint(tmp_path / "none.pt")
