"""What *Why reuse fails* says of made rows: other rows, other verdicts and sentences."""

import pandas as pd
import pytest

from kvlab.book import tables
from kvlab.book.answers import amplification, set_apart
from kvlab.book.answers import why_reuse_fails as answers
from kvlab.study.settings import Setting
from made import curves, made

PERIODS, LAGS = [2, 4], [1]


def outcomes(k: int) -> list:
    """`k` of 100 episodes succeed."""
    return [(n < k, 15, [False] * 3) for n in range(100)]


def explained(
    vision=50, state=30, both=10, young=60, old=0, black=10, again=100, rate=0.0, gain=2.0, change=2.0, **others
):
    solved = {answers.NO_REUSE: 100, answers.late("vision", 1): vision, answers.late("state", 1): state}
    solved |= {answers.late("all", 1): both, answers.periodic(2): young, answers.periodic(4): old}
    solved |= {Setting("none", seeing=seen): black for seen in answers.BLIND}
    records = made({setting: outcomes(k) for setting, k in solved.items()})
    twin = made({answers.NO_REUSE: outcomes(again)})
    return records, answers.explanations(
        {"short": records, **others}, twin, PERIODS, LAGS, curves(rate), gains(gain, change)
    )


def gains(gain: float, change: float) -> pd.DataFrame:
    rows = []
    for episode in range(10):
        wobble = 1 + 0.01 * (-1) ** episode
        for name, factor in (("vision", 1.0), ("state", 0.0)):
            relative, real = (ratio**factor * wobble**factor for ratio in (gain, change))
            rows.append({"episode": episode, "replan": 1, "input": name, "relative": relative, "real": real})
    return pd.DataFrame(rows).assign(moved=0.5, linear=1.0)


def said(**changed) -> list[str]:
    records, found = explained(**changed)
    aged = {2: changed.get("young", 60), 4: changed.get("old", 0)}
    apart = {set_apart.SHARE: found["staleness"], set_apart.AGE: found[answers.CONTROL]}
    return answers.findings(
        {1: answers.square(records, 1)},
        found,
        aged,
        5,
        "short",
        100,
        apart,
        amplification.added_late(curves(changed.get("rate", 0.0))),
    )


def test_late_inputs_that_do_better_apart_are_told_with_their_effect():
    first = said()[0]
    assert first.startswith(
        "**Inconsistency, that an old image with a new robot state is worse than both old: refuted.** In `short`, with "
        "images late by 5 control steps, 50 of 100 episodes succeed, with a late robot state 30, with both late 10. "
        "Late images alone have 40 points more than both late ("
    )


@pytest.mark.parametrize(
    ("vision", "state", "verdict"),
    [
        (5, 5, "supported"),
        (5, 60, "supported in part and refuted in part"),
        (30, 60, "refuted in part"),
        (30, 30, "not shown"),
    ],
)
def test_the_verdict_on_inconsistency_follows_the_rows(vision, state, verdict):
    assert f"both old: {verdict}.**" in said(vision=vision, state=state, both=30)[0]


@pytest.mark.parametrize(
    ("parts", "verdict"), [((), None), (("all",), None), (("vision", "all"), "refuted"), (("vision",), None)]
)
def test_late_inputs_of_another_suite_are_told_where_they_can_be_compared(parts, verdict):
    solved = {"vision": 40, "all": 20}
    rows = made({answers.NO_REUSE: outcomes(70)} | {answers.late(part, 1): outcomes(solved[part]) for part in parts})
    first = said(long=rows)[0]
    assert first.endswith(f" With other policies: **{verdict}** in `long`.") == (verdict is not None)
    table = answers.table(explained(long=rows)[1])
    assert ("inconsistency, long: refuted" in table.index.get_level_values(0)) == (verdict is not None)


def test_staleness_says_what_age_and_share_do_each_for_itself():
    claim = said()[1]
    assert claim.startswith("**Staleness: supported, with age and share together.**")
    assert (
        "In `short`, a cache that is renewed every 4 replans solves 0 of 100 episodes. That is 60 points fewer" in claim
    )
    assert "than one renewed every 2 (" in claim and claim.count("**") == 2  # one verdict leads
    assert claim.endswith(
        "Taken apart, that an older cache costs episodes at one share is not shown; that more frequent reuse does at "
        "one age is supported."
    )
    assert claim != said(old=55)[1] and said(old=55)[1].endswith("at one age is not shown (1 of 2 predictions holds).")
    assert said(young=100, old=100)[1].startswith("**Staleness: not shown")


def test_sensitivity_is_told_by_both_of_its_ratios():
    assert said()[3].startswith("**Sensitivity to images: supported.**")
    neither = said(gain=0.5, change=0.5)[3]
    assert neither.startswith("**Sensitivity to images: refuted.**")
    assert "the images moves the policy's actions 0.50 (0.50 to 0.50) times as far as the same" in neither
    assert "images: supported in part and refuted in part" in said(gain=2.0, change=0.5)[3]
    assert "between two replans, images move them less (0.50 (0.50 to 0.50) times as far)." in neither
    assert "images move them more (2.00" in said()[3]
    assert "images are not shown to move them more (1.0" in said(change=1.0)[3]


def test_the_table_has_every_prediction_under_its_verdict():
    table = answers.table(explained()[1])
    assert table.to_html().split("</thead>")[0].count("<tr") == 1
    assert [*table.columns] == ["effect", "prediction"] and len(table) == 2 + 2 + 2 + 3 + 3 + 1
    assert table.loc["inconsistency: refuted"].effect.iloc[0].startswith("40 (")
    assert table.loc["a control, another seed: no loss shown, as it should be"].prediction.iloc[0] == "open"
    lost = answers.table(explained(again=50)[1])
    assert lost.loc["a control, another seed: supported"].prediction.iloc[0] == "holds"
    images = table.loc["cameras: supported"].index
    assert images[1].startswith("always the episode's first images: fewer") and len(images) == 3


def test_the_title_is_that_of_the_square():
    counts = answers.square(explained()[0], 1)
    assert counts.to_numpy().tolist() == [[100, 50], [30, 10]]
    assert answers.headline(counts) == "Late inputs alone cost episodes, without any cache, both together most"
    counts.iloc[1, 1] = 60
    assert answers.headline(counts) == "Late inputs alone cost episodes, without any cache"
    counts.iloc[1, 1] = 100
    assert answers.headline(counts) == "Not every late input costs episodes"


def test_late_settings_have_short_names():
    assert tables.gate(answers.late("state", 2)) == "no reuse, robot state late by 2"
