"""Random programs: what every backend computes is held against torch in float64.

The seeds are new each day; PLANFORM_SEED chooses others. What once failed is kept in tests/data/programs.
`python tests/fuzz_programs.py` does the same for hours.
"""

from __future__ import annotations

import itertools
import os
from datetime import date
from pathlib import Path

import pytest
import torch

from planform.compiler.ops import registry
from support.random_programs import backends, campaign
from support.random_programs.grow import grow
from support.random_programs.judge import QUICK, expectations, failures
from support.random_programs.shrink import shrink
from support.random_programs.text import setting_of

KEPT = sorted((Path(__file__).parent / "data" / "programs").glob("*.plan"))
SEED = int(os.environ.get("PLANFORM_SEED", date.today().toordinal() * 1_000_000))
# One for each process that runs tests; no other command begins with these seeds.
PARTS = 2
SECONDS = 18.0
MANY_SECONDS = 600.0
_NOT_GROWN = frozenset(("rrelu", "scatter"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_failed_once_is_right(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = list(failures(text, setting_of(text).backends or QUICK))
    assert not found, "\n".join(map(str, found))


def hunt(part: int, seconds: float, thorough: bool) -> None:
    """Run programs of this part's seeds; the first failure, made small, is shown whole."""
    torch.set_num_threads(1)
    seeds = itertools.count(SEED + 500_000 + part, PARTS)
    for seed, program, failure in campaign.run(seeds, seconds, thorough, patience=30):
        pytest.fail(campaign.report(seed, program, failure))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs_are_right(part: int) -> None:
    hunt(part, SECONDS, thorough=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_many_random_programs_are_right(part: int) -> None:
    hunt(part + 100_000, MANY_SECONDS, thorough=True)


def test_programs_are_the_same_for_the_same_seed() -> None:
    assert [grow(seed).text for seed in (3, 4)] == [grow(seed).text for seed in (3, 4)]


@pytest.mark.slow
def test_programs_have_every_operator() -> None:
    wanted = set(registry()) - _NOT_GROWN
    for seed in range(6000):
        wanted -= set(campaign.signature(grow(seed)).split())
        if not wanted:
            return
    assert not wanted


def _allowed(dtype: str, body: str, result: int = 0) -> torch.Tensor:
    """How far the results of a plan may be off in its first call."""
    text = f"planform 1\n# seed: 5\n# dtype: {dtype}\n# calls: \nmodel network(x0: [4, 24]) {{\n{body}\n}}\nplan net = network()"
    subject = backends.Subject(text, setting_of(text))
    return expectations(subject, backends.eager(subject))[0][0].allowed[result]


def test_choices_are_open_where_operands_are_nearly_equal_alone() -> None:
    # Inputs are exact, so their order is.
    assert (_allowed("f32", "return argsort(x0)") == 0).all()
    assert (_allowed("f32", "return argsort(sigmoid(x0))") == 0).all()
    ranks = _allowed("bf16", "return argsort(sigmoid(x0))")
    assert ranks.isnan().any() and (ranks == 0).any()
    assert (_allowed("f32", "return x0 > 0.0") == 0).all()
    # Imaginary parts of the first and the middle frequency are 0 but for rounding.
    signs = _allowed("f32", "return sign(view_as_real(fft(x0))[0, :, 1])")
    assert signs.isnan().nonzero().flatten().tolist() == [0, 12]


def test_positions_of_equal_elements_are_open_and_the_others_are_not() -> None:
    ties = _allowed("f32", "return argsort(relu(x0[0]))")
    zeros = int(ties.isnan().sum())
    assert 1 < zeros < 24 and ties[:zeros].isnan().all()
    assert (_allowed("f32", "return argsort(relu(x0[0]), stable=true)") == 0).all()
    index = _allowed("f32", "return max_pool_indices(relu(unsqueeze(x0, 0)), 2)", 1)
    assert index.isnan().any() and (index == 0).any()


def test_numbers_stay_held_where_others_jump() -> None:
    allowed = _allowed("bf16", "v = sigmoid(x0)\nreturn take_along_axis(x0, argsort(v), axis=1)")
    assert allowed.isnan().any() and allowed[~allowed.isnan()].max() < 0.1


def wrong_gelu(subject: backends.Subject) -> backends.Run:
    """A backend that takes the approximation for the function."""
    exact = torch.nn.functional.gelu

    def approximate(x: torch.Tensor, **how: str) -> torch.Tensor:
        return exact(x, approximate="tanh")

    def run(wide: list[torch.Tensor]) -> list[torch.Tensor]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.functional, "gelu", approximate)
            return backends.eager(subject)(wide)

    return run


def test_a_wrong_backend_is_found_and_its_programs_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "wrong", wrong_gelu)
    for seed in range(400):
        program = grow(seed)
        if "gelu()" not in program.text or program.dtype != "f32":
            continue
        found = next(failures(program.text, ("wrong",)), None)
        if found is not None:
            small, failure = shrink(program, found, 20)
            assert failure.kind == "differs" and len(small.statements) == 1
            assert "gelu()" in small.statements[0].expression
            return
    pytest.fail("no program shows it")
