"""What is said of share, age, moments and old plans, of made rows: other rows, other verdicts and sentences."""

import re

import pytest

from kvlab.book.answers import set_apart
from kvlab.study.settings import parse_setting
from made import made

SPATIAL, TEN = "libero_spatial", "libero_10"


def records(**solved: int) -> dict:
    """Both suites with 100 episodes a setting, of which 50 succeed, or what `solved` says of a clock or a mode."""
    found = {}
    for suite in (SPATIAL, TEN):
        rows = {}
        for setting in set_apart.settings(suite):
            named = {"often": setting.seeing != "live", "rare": setting.gate == "every(4, 3)"}
            named |= {"old": setting.gate in ("every(14, 7)", "every(6, 3)", "every(20, 10)")}
            named |= {"again": setting.mode == "repeat"}
            k = next((solved[name] for name, it_is in named.items() if it_is and name in solved), 50)
            rows[setting] = [(n < k, 15, [False, setting.mode != "none", False, False]) for n in range(100)]
        found[suite] = made(rows, suite)
    return found


def verdicts_of(**solved: int) -> list[str]:
    rows = records(**solved)
    said = set_apart.findings(rows, set_apart.explanations(rows))
    return [re.match(r"\*\*.*: (.*)\.\*\* ", one)[1] for one in said[:4]]


@pytest.mark.parametrize(
    ("solved", "share", "age", "moment", "plan"),
    [
        ({}, "not shown", "not shown", "not shown", "not shown"),
        ({"rare": 90, "often": 5}, "supported", "not shown", "not shown", "not shown"),
        ({"rare": 90, "often": 95}, "supported in part and refuted in part", "not shown", "not shown", "not shown"),
        ({"old": 5}, "not shown", "supported", "supported", "not shown"),
        ({"old": 95}, "not shown", "refuted", "refuted", "not shown"),
        ({"again": 10}, "not shown", "not shown", "not shown", "supported"),
        ({"again": 90}, "not shown", "not shown", "not shown", "refuted"),
    ],
)
def test_verdicts_follow_the_rows(solved, share, age, moment, plan):
    assert verdicts_of(**solved) == [share, age, moment, plan]


def test_a_ladder_is_told_with_its_last_step():
    rows = records(rare=90, often=5)
    share, *_ = set_apart.findings(rows, set_apart.explanations(rows))
    assert (
        "In `libero_spatial`, with everything kept, one replan old, 90 of 100 episodes succeed at a quarter of the "
        "replans, 50 at half and 5 at all. The last is 45 points fewer than at half ("
    ) in share
    assert share.count("The last is") == sum(one.explanation == set_apart.SHARE for one in set_apart.LADDERS)


def test_a_plan_begun_again_is_held_against_what_an_old_cache_computes():
    rows = records(again=10)
    last = set_apart.findings(rows, set_apart.explanations(rows))[-1]
    assert last.count("40 points more than the old chunk begun again (") == 2
    assert last.count("they differ by more than 10 points.") == 2
    rows = records()
    last = set_apart.findings(rows, set_apart.explanations(rows))[-1]
    assert "as many as the old chunk begun again" in last and "they differ by less than 10 points" in last


def test_the_table_has_share_and_age_of_caches_and_of_what_stands_for_one():
    rows = set_apart.table(records())
    row = rows[rows["setting"] == "everything kept, every(14, 7)"].iloc[0]
    assert row.tolist()[1:] == ["25 %", "1.0", "50 of 100", "15"]
    late = rows.loc[SPATIAL][rows.loc[SPATIAL]["setting"] == "no reuse, both late by 1"].iloc[0]
    assert late.tolist()[1:3] == ["75 %", "1.0"]  # all but the first of four replans


def test_every_rung_is_a_setting_once():
    for suite in (SPATIAL, TEN):
        assert len({*set_apart.settings(suite)}) == len(set_apart.settings(suite))
        assert parse_setting("repeat when every(2)") in set_apart.settings(suite)
