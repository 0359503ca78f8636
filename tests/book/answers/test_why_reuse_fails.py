"""What *Why reuse fails* says of made rows: other rows, other verdicts and sentences."""

import numpy as np
import pandas as pd
import pytest

from kvlab.book import tables
from kvlab.book.answers import set_apart
from kvlab.book.answers import why_reuse_fails as answers
from kvlab.study.settings import Setting
from made import made

PERIODS, LAGS = [2, 4], [1]
STEPS = np.arange(1, 11)


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


def curves(rate: float) -> pd.DataFrame:
    """Distances of ten episodes that grow by `rate` and a little differently in each."""
    rows = []
    for mode in ("full", "prefix"):
        for episode in range(10):
            own = rate + 0.001 * (episode - 4.5)
            distances = {f"step_{s}": 0.01 * np.expm1(own * s) / own for s in STEPS}
            rows.append({"mode": mode, "age": 1, "phase": "any", "group": "all", "episode": episode} | distances)
    return pd.DataFrame(rows)


def gains(gain: float, change: float) -> pd.DataFrame:
    rows = []
    for episode in range(10):
        wobble = 1 + 0.01 * (-1) ** episode
        for name, factor in (("vision", 1.0), ("state", 0.0)):
            relative, real = (ratio**factor * wobble**factor for ratio in (gain, change))
            rows.append({"episode": episode, "replan": 1, "input": name, "relative": relative, "real": real})
    return pd.DataFrame(rows).assign(moved=0.5, linear=1.0)


def added(rate: float) -> dict:
    return answers.added_late(curves(rate))


def said(**changed) -> list[str]:
    records, found = explained(**changed)
    aged = {2: changed.get("young", 60), 4: changed.get("old", 0)}
    apart = {set_apart.SHARE: found["staleness"], set_apart.AGE: found["seed"]}
    return answers.findings(
        {1: answers.square(records, 1)}, found, aged, 5, "short", 100, apart, added(changed.get("rate", 0.0))
    )


def test_late_inputs_that_do_better_apart_are_told_with_their_effect():
    first = said()[0]
    assert first.startswith("**Inconsistency: refuted.** The February report says that an old image beside a new")
    assert (
        "In `short`, with images late by 5 control steps, 50 of 100 episodes succeed, with a late robot state 30"
        in first
    )
    assert "Late images alone have 40 points more than both late together" in first
    assert first.endswith("Of the 2 predictions at 5 control steps none holds, 2 fail and none is open.")


@pytest.mark.parametrize(
    ("vision", "state", "verdict", "counted"),
    [
        (5, 5, "supported", "2 hold, none fails and none is open"),
        (5, 60, "supported in part and refuted in part", "1 holds, 1 fails and none is open"),
        (30, 60, "refuted in part", "none holds, 1 fails and 1 is open"),
        (30, 30, "not shown", "none holds, none fails and 2 are open"),
    ],
)
def test_the_verdict_on_inconsistency_follows_the_rows(vision, state, verdict, counted):
    first = said(vision=vision, state=state, both=30)[0]
    assert f"{verdict}.**" in first and counted in first


@pytest.mark.parametrize(
    ("parts", "verdict"), [((), None), (("all",), None), (("vision", "all"), "refuted"), (("vision",), None)]
)
def test_late_inputs_of_another_suite_are_told_where_they_can_be_compared(parts, verdict):
    solved = {"vision": 40, "all": 20}
    rows = made({answers.NO_REUSE: outcomes(70)} | {answers.late(part, 1): outcomes(solved[part]) for part in parts})
    first = said(long=rows)[0]
    told = "In `long`, with images alone late by 1 replan, the policy solves 20 points more than with both late ("
    assert (told in first) == (verdict is not None) and first.endswith(f": **{verdict}**.") == (verdict is not None)
    table = answers.table(explained(long=rows)[1])
    assert ("inconsistency, long: refuted" in table.index.get_level_values(0)) == (verdict is not None)


def test_staleness_says_what_age_and_share_do_each_for_itself():
    claim = said()[1]
    assert claim.startswith("**Staleness: supported, if age and share are taken together.**")
    assert "In `short`, a cache that is renewed every 2 replans solves 60 of 100 episodes; renewed every 4, 0." in claim
    assert "60 points fewer than every 2" in claim and "at one age: **supported**." in claim
    assert claim.endswith("That an older cache does at one share of replans: **not shown**.")
    assert said(young=100, old=100)[1].startswith("**Staleness: not shown")


@pytest.mark.parametrize(
    ("rate", "verdict", "title"),
    [
        (0.006, "supported", "more than"),
        (0.3, "supported", "more than"),
        (-0.1, "refuted", "less than"),
    ],
)
def test_amplification_is_told_by_its_rate(rate, verdict, title):
    _, found = explained(rate=rate)
    claim = said(rate=rate)[2]
    assert claim.startswith(f"**Amplification at one exponential rate: {verdict}.** The February report says that")
    assert answers.amplification_title(found, added(rate)) == f"Each denoising step adds {title} the first"
    if rate == 0.3:
        assert "a rate of 0.300 (0.297 to 0.303)" in claim
        assert "with `prefix`, the second half of the steps adds 4.48 (4." in claim


def test_a_rate_around_zero_shows_no_amplification():
    claim = said(rate=0.0001)[2]
    assert claim.startswith("**Amplification at one exponential rate: not shown.**")
    found = explained(rate=0.0001)[1]
    assert answers.amplification_title(found, added(0.0001)) == "That later steps add more is not shown"


def test_later_steps_that_add_more_are_said_where_no_rate_is_shown():
    found = explained(rate=0.0001)[1]
    assert answers.amplification_title(found, added(0.3)) == (
        "Later denoising steps add more with full and prefix; exponential growth at one rate is not shown"
    )
    claim = answers._amplification(found["amplification"], added(0.3))
    assert claim.startswith(
        "**Amplification at one exponential rate: not shown; later steps do add more with full and prefix.**"
    )
    one = {"full": added(0.0001)["full"], "prefix": added(0.3)["prefix"]}
    assert "Later denoising steps add more with prefix;" in answers.amplification_title(found, one)


def test_what_the_later_half_of_the_steps_adds_is_told_without_a_fit():
    def halves(near: pd.DataFrame, rate: float) -> str:
        return answers.halves(near, explained(rate=rate)[1]["amplification"])

    said = halves(curves(0.3), 0.3)
    assert said.startswith("Without any fit. With `full` the second half of the steps adds 4.48 (4.")
    assert said.count("would make it 4.48 (4.") == 2 and "does not fit" not in said
    assert halves(curves(0.0001), 0.0001).count("adds 1.00 (") == 2
    assert halves(curves(0.3), 0.0001).endswith(
        "With `full` and `prefix` more was measured than one rate allows: it does not fit."
    )


def test_sensitivity_is_told_by_both_of_its_ratios():
    assert said()[3].startswith("**Sensitivity to images: supported.**")
    neither = said(gain=0.5, change=0.5)[3]
    assert neither.startswith("**Sensitivity to images: refuted.**")
    assert "0.50 (0.50 to 0.50) times as far when it is one of the images" in neither
    assert "images: supported in part and refuted in part.**" in said(gain=2.0, change=0.5)[3]


def test_controls_have_verdicts_of_their_own():
    assert answers.controls(explained()[1]) == (
        "That the policy needs its cameras: **supported**. That another seed alone loses episodes: **not shown**; the "
        "loss, if any, is under 4 points."
    )
    assert answers.controls(explained(black=100, again=50)[1]) == (
        "That the policy needs its cameras: **not shown**. That another seed alone loses episodes: **supported**."
    )


def test_the_table_has_every_prediction_under_its_verdict():
    table = answers.table(explained()[1])
    assert table.to_html().split("</thead>")[0].count("<tr") == 1
    assert [*table.columns] == ["effect", "prediction"] and len(table) == 2 + 2 + 2 + 3 + 3 + 1
    assert table.loc["inconsistency: refuted"].effect.iloc[0].startswith("40 (")
    assert table.loc["seed: not shown"].prediction.iloc[0] == "open"


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
