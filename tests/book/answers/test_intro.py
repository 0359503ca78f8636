"""What the start page says of made rows: what is recorded, and other rows another sentence."""

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
    assert only.startswith("**Take fewer denoising steps first.** In `short` 99 of 100 episodes succeed")
    assert "In `long` 80 of 100 episodes succeed with `none steps=2`, 20 points fewer than without reuse" in only
    assert only.endswith("A control step takes 55 % (a machine) of the inference without reuse.")
