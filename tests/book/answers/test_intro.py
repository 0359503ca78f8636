"""What the start page says of made rows: what is recorded, and other rows another sentence."""

import pytest

from kvlab.book.answers import intro
from kvlab.study.settings import Setting
from made import TIMES, made

NO_REUSE, FEWER = Setting("none"), Setting("none", denoising_steps=2)


def records(solved: int):
    """No reuse solves all of 100 episodes, two denoising steps so many."""
    return made(
        {
            NO_REUSE: [(True, 15, [False] * 4)] * 100,
            FEWER: [(n < solved, 15, [False] * 4) for n in range(100)],
        }
    )


def test_a_finding_names_both_suites_and_its_cost_and_what_is_not_recorded_is_left_out():
    (only,) = intro.findings({"short": records(99), "long": records(80)}, {"cpu": TIMES})
    assert only.startswith("**Taking two denoising steps loses over 5 points in `long` and saves inference.** ")
    assert "`short`: 99 of 100 episodes, 1 point fewer than without reuse" in only
    assert "`long`: 80 of 100 episodes, 20 points fewer than without reuse" in only
    assert only.endswith("Inference: 55 % (CPU) of no reuse.")


@pytest.mark.parametrize(
    ("solved", "lead"),
    [(100, "loses under 5 points"), (97, "is not shown to lose under 5 points"), (60, "loses over 5 points")],
)
def test_the_lead_follows_from_the_rows(solved, lead):
    (only,) = intro.findings({"short": records(solved)}, {"cpu": TIMES})
    assert only.startswith(f"**Taking two denoising steps {lead} and saves inference.** ")
