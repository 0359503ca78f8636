"""What is said of why fewer steps lose nothing, of made tables: other tables, other verdicts and sentences."""

import re

import pandas as pd
import pytest

from kvlab.book.answers import fewer_steps as answers


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


def said(**changed) -> str:
    return answers.said(answers.explanations(measured(**changed)))


def test_all_that_came_out_may_be_the_reason():
    assert said() == (
        "**All predictions came out, so that spread may be the reason.** Supported: less spread; mean as near; one "
        "chunk nearer; the spread falls further where more is solved."
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
    told = said(**changed)
    assert told.startswith("**Not all predictions came out: the reason is open.**")
    (those,) = re.findall(rf"{verdict.capitalize()}: (.*?)\.", told)
    assert (answers.SPREAD, answers.MEAN, answers.NEARER, answers.REASON)[which] in those.split("; ")


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
