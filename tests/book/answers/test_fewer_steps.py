"""What is said of why fewer steps lose nothing, of made tables: other tables, other verdicts and sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import fewer_steps as answers
from kvlab.evidence.stats import Pairs, paired_difference
from kvlab.study.settings import Setting
from made import made


def measured(spread=0.5, bias=1.0, error=0.8, here=2.0) -> pd.DataFrame:
    """Ten demonstrations a suite: few steps over ten, and how much more chunks spread in the suite that rises."""
    rows = []
    for suite, factor in ((answers.STAYS, 1.0), (answers.RISES, here)):
        for task in range(10):
            wobble = 1 + 0.01 * (-1) ** task
            for steps in (1, 2, 10):
                few = steps < answers.FULL
                row = {
                    "suite": suite,
                    "task": task,
                    "initial_state": 0,
                    "seed": 0,
                    "steps": steps,
                    "actions": "executed",
                }
                row |= {"spread": 0.2 * factor * (spread * wobble if few else 1)}
                row |= {"bias": bias * wobble if few else 1, "error": error * wobble if few else 1}
                rows += [row, row | {"actions": "chunk", "spread": 99.0, "bias": 99.0, "error": 99.0}]
    return pd.DataFrame(rows)


def said(gained=(), **changed) -> list[str]:
    return answers.said(answers.explanations(measured(**changed)), dict(gained))


def test_all_that_came_out_may_be_the_reason():
    spread, mean, nearer, reason = said({answers.RISES: paired_difference(Pairs(70, 15, 4, 11))}.items())
    assert spread.startswith("**Chunks of fewer steps depend less on the noise: supported.**")
    assert "the noise with two is 0.50 (0.49 to 0.51) in `libero_10`; 0.50" in spread
    assert spread.endswith("With one or two steps, 4 of 4 predictions hold.")
    assert mean.startswith("**Their mean is as near to the demonstrations: supported.** Relative to ten steps")
    assert nearer.startswith("**A single chunk is nearer to them: supported.**") and "0.80 (" in nearer
    assert "In `libero_10` episodes with two steps have 11 points more than with ten" in reason
    assert "minus that in `libero_spatial` is 0.100 (" in reason and reason.endswith(
        "so that spread may be the reason."
    )


@pytest.mark.parametrize(
    ("changed", "which", "verdict"),
    [
        ({"spread": 1.5, "here": 0.5}, 0, "refuted"),
        ({"bias": 1.2}, 1, "refuted"),
        ({"bias": 1.05}, 1, "not shown"),
        ({"error": 1.2}, 2, "refuted"),
        ({"here": 0.5}, 3, "refuted"),
        ({"here": 1.0}, 3, "not shown"),
    ],
)
def test_one_that_does_not_come_out_leaves_the_reason_open(changed, which, verdict):
    claims = said(**changed)
    assert f": {verdict}.**" in claims[which]
    assert which == 3 or "0 of 4 predictions hold" in claims[which]
    assert claims[-1].endswith("Not all predictions came out: the reason is open.")


def test_a_prediction_that_does_not_come_out_stands_in_the_sentence():
    rows = measured()
    far = rows["suite"].eq(answers.STAYS) & rows["steps"].eq(1)
    mean = answers.said(answers.explanations(rows.assign(bias=rows["bias"].mask(far, 1.2))), {})[1]
    assert mean.endswith("3 of 4 predictions hold; not libero_spatial, 1 step: 1.20 (1.20 to 1.20).")


def test_the_title_says_what_was_measured():
    title = answers.headline(answers.explanations(measured()))
    assert title == "Fewer steps: chunks that depend less on the noise, and nearer to demonstrations"
    assert answers.headline(answers.explanations(measured(error=1.2))).endswith(
        "but not always nearer to demonstrations"
    )
    assert "do not always" in answers.headline(answers.explanations(measured(spread=1.5)))


def test_the_table_has_every_prediction_under_its_verdict():
    table = answers.table(answers.explanations(measured(error=1.2)))
    assert [*table.index.get_level_values(0).unique()] == [
        "less spread: supported",
        "mean as near: supported",
        "one chunk nearer: refuted",
        "the spread falls further where more is solved: supported",
    ]
    assert len(table) == 3 * 4 + 2
    assert "libero_10: spread over the noise, 2 steps over 10" in table.index.get_level_values(1)


def test_gains_are_of_suites_that_recorded_both():
    full, few = Setting("none"), Setting("none", denoising_steps=2)
    both = made({full: [(n < 70, 15, [False]) for n in range(100)], few: [(True, 15, [False])] * 100})
    gained = answers.gains({"a": both, "b": made({full: [(True, 15, [False])] * 100})}, 0.95)
    assert [*gained] == ["a"] and gained["a"].estimate == pytest.approx(0.3)
