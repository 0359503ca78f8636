"""What is said of share, age, moments and old plans, of made rows: other rows, other verdicts and sentences."""

import re

import pytest

from kvlab.book.answers import set_apart
from kvlab.book.answers.set_apart import NO_REUSE, SPATIAL, TEN
from kvlab.evidence import verdicts
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from made import made


def records(further: int = 0, needed: int | None = None, **solved: int) -> dict:
    """Both suites with 100 episodes a setting, of which 50 succeed, or what `solved` says of a clock or a mode.

    Of what is FURTHER the first so many settings are recorded. With `needed` another image gate solves so many; gates
    reuse twice as often once no reuse has ended, so that they reuse as clocks do over all replans, and less before.
    """
    found = {}
    for suite in (SPATIAL, TEN):
        rows = {NO_REUSE: [(True, 15, [False] * 4)] * 100}
        mine = [*set_apart.settings(suite), *set_apart.FURTHER.get(suite, [])[:further]]
        for setting in mine:
            named = {"late": setting.seeing != "live", "rare": setting.gate in ("every(4, 3)", "every(8, 7)")}
            named |= {"old": re.fullmatch(r"every\((14, 7|6, 3|20, 10|24, 12)\)", setting.gate) is not None}
            named |= {"again": setting.mode == "repeat"}
            k = next((solved[name] for name, it_is in named.items() if it_is and name in solved), 50)
            rows[setting] = [(n < k, 15, [False, setting.mode != "none", False, False]) for n in range(100)]
        if needed is not None:
            reuses = [False, True, False, False, *[True] * 8]
            gates = [one for one in rows if one.gate.startswith("vision")]
            rows |= {one: [(n < 50, 60, [False, False, False, False, True, True]) for n in range(100)] for one in gates}
            rows |= {
                Setting(one.mode, "vision >= 0.5"): [(n < needed, 60, reuses) for n in range(100)] for one in gates
            }
        found[suite] = made(rows, suite)
    return found


def verdicts_of(**solved: int) -> list[str]:
    explained = set_apart.explanations(records(**solved))
    names = (set_apart.SHARE, set_apart.LATE, set_apart.AGE, set_apart.MOMENT, set_apart.NEEDED, set_apart.PLAN)
    return [verdicts.verdict(explained[name]) for name in names]


NOTHING = ["not shown"] * 6


@pytest.mark.parametrize(
    ("solved", "ends"),
    [
        ({}, {}),
        ({"rare": 90}, {0: "supported"}),
        ({"rare": 10}, {0: "refuted"}),
        ({"late": 5}, {1: "supported"}),
        ({"late": 95}, {1: "refuted"}),
        ({"old": 5}, {2: "supported", 3: "supported", 4: "supported"}),
        ({"old": 95}, {2: "refuted", 3: "refuted", 4: "refuted"}),
        ({"again": 10}, {5: "supported"}),
        ({"again": 90}, {5: "refuted"}),
    ],
)
def test_verdicts_follow_the_rows(solved, ends):
    """Share by caches alone: late inputs, which stand for one, have a verdict of their own."""
    assert verdicts_of(**solved) == [ends.get(n, verdict) for n, verdict in enumerate(NOTHING)]


@pytest.mark.parametrize(
    ("further", "share", "late", "age", "moment"), [(0, 2, 2, 3, 3), (2, 2, 4, 3, 3), (3, 2, 4, 4, 4), (4, 3, 4, 4, 4)]
)
def test_what_is_recorded_is_told(further, share, late, age, moment):
    rows = records(further)
    explained = set_apart.explanations(rows)
    assert [len(explained[name]) for name in (set_apart.SHARE, set_apart.LATE)] == [share, late]
    assert [len(explained[name]) for name in (set_apart.AGE, set_apart.MOMENT)] == [age, moment]
    groups = [name.rsplit(":", 1)[0] for name, _ in set_apart.comparisons(rows, explained).index]
    assert [groups.count(name) for name in (set_apart.SHARE, set_apart.LATE)] == [share, late]
    assert [groups.count(name) for name in (set_apart.AGE, set_apart.MOMENT)] == [age, moment]
    same = "a cache of everything does as well as the old chunk from its start, within 5 points"
    assert groups.count(set_apart.PLAN) == groups.count(same) == 2


def test_every_row_of_the_settings_serves_a_statement():
    """A setting that is neither end of a ladder is compared with nothing, but for a share between two others."""
    between = [(one.explanation, rung) for one in set_apart.LADDERS for rung in one.rungs if rung not in one.ends]
    assert {name for name, _ in between} == {set_apart.SHARE}


def test_a_comparison_has_both_settings_their_successes_and_the_difference():
    rows = records(rare=90, late=5)
    explained = set_apart.explanations(rows)
    table = set_apart.comparisons(rows, explained)
    share = table.loc[[("at one age, reuse more often costs episodes: supported", SPATIAL)]].iloc[0]
    assert share.tolist()[:3] == ["everything", "every(2): 50 of 100", "every(8, 7): 90 of 100"]
    assert share["points"].startswith("-40 (") and share["prediction"] == "holds"
    late = table.loc[[(f"{set_apart.LATE}: supported", SPATIAL)]].iloc[0]
    assert late.tolist()[:3] == ["everything", "no reuse, both late by 1: 5 of 100", "every(2): 50 of 100"]
    plan = table.loc[[(f"{set_apart.PLAN}: not shown", SPATIAL)]].iloc[0]
    assert plan.tolist()[:3] == ["chunk", "chunk from its start kept, every(2): 50 of 100", "every(2): 50 of 100"]


def test_a_clock_and_a_gate_are_compared_in_both_counts():
    """Gates that reuse only once no reuse has ended reuse nothing in its count: other gates are there to compare."""
    rows = records(old=30, needed=10)
    explained = set_apart.explanations(rows)
    assert verdicts.verdict(explained[set_apart.MOMENT]) == "supported"
    assert verdicts.verdict(explained[set_apart.NEEDED]) == "refuted"
    table = set_apart.comparisons(rows, explained)
    assert {f"{set_apart.MOMENT}: supported", f"{set_apart.NEEDED}: refuted"} < {*table.index.get_level_values(0)}
    row = table.loc[[(f"{set_apart.NEEDED}: refuted", SPATIAL)]].iloc[0]
    assert row.tolist()[1:3] == ["every(14, 7): 30 of 100", "image gates that reuse as often"]
    assert row["points"].startswith("20 (") and row["prediction"] == "fails"


def test_a_clock_of_older_caches_is_said_to_mix_moment_and_age(monkeypatch):
    """By two replans for the clocks of one suite, by none for the others."""
    rows = records(old=30, needed=10)
    ages = {"every(14, 7)": 4.0, "vision >= 0.96": 2.0}
    monkeypatch.setattr(set_apart, "mean_age", lambda _, setting, within=None: ages.get(setting.gate, 3.0))
    explained = set_apart.explanations(rows)
    assert set_apart.finding(rows, explained).endswith(
        "** Within the replans that no reuse took, a clock's caches are up to 2.0 replans older than its gate's: "
        "age and moment are not apart there."
    )
    monkeypatch.setattr(set_apart, "mean_age", lambda _, setting, within=None: 3.0)
    assert set_apart.finding(rows, explained).endswith("not shown.**")


def test_a_clock_beyond_every_image_gate_is_not_told():
    rows = records(needed=10)
    for suite, mine in rows.items():
        kept = [~table["gate"].str.startswith("vision >= 0.5") for table in (mine.episodes, mine.replans)]
        rows[suite] = Records(mine.episodes[kept[0]], mine.replans[kept[1]])
    explained = set_apart.explanations(rows)
    assert set_apart.NEEDED not in explained
    assert set_apart.finding(rows, explained).endswith(
        "** Within the replans that no reuse took, no image gate reuses as often as the clocks."
    )


@pytest.mark.parametrize(
    ("solved", "counts"),
    [
        ({}, "1 is supported and 6 are not shown"),
        ({"rare": 90, "late": 5, "again": 10}, "3 are supported, 1 is refuted and 3 are not shown"),
        ({"old": 95, "late": 95, "again": 90}, "6 are refuted and 1 is not shown"),
    ],
)
def test_the_ends_of_the_statements_are_counted(solved, counts):
    """Seven of them: without a change all solve alike, and only that a cache does as the old chunk is supported."""
    rows = records(**solved)
    assert set_apart.finding(rows, set_apart.explanations(rows)).startswith(f"**Of 7 statements {counts}.**")


@pytest.mark.parametrize(
    ("again", "verdict", "each"), [(10, "refuted", "fails"), (50, "supported", "holds"), (44, "not shown", "open")]
)
def test_a_plan_begun_again_is_held_against_what_an_old_cache_computes(again, verdict, each):
    rows = records(again=again)
    explained = set_apart.explanations(rows)
    found = set_apart.comparisons(rows, explained, 0.05)
    last = found.loc[f"a cache of everything does as well as the old chunk from its start, within 5 points: {verdict}"]
    assert last["prediction"].tolist() == [each] * 2
    assert last.iloc[0].tolist()[1:3] == ["everything kept, every(2): 50 of 100", f"every(2): {again} of 100"]


def test_the_table_has_share_and_age_in_both_counts_and_late_inputs_reuse_nothing():
    rows = set_apart.table(records(needed=10))
    row = rows[rows["setting"] == "everything kept, every(14, 7)"].iloc[0]
    assert row.tolist()[1:] == ["50 of 100", "25 %", "1.0", "25 %", "1.0", "15"]
    gate = rows[rows["setting"] == "everything kept, images ≥ 0.96"].iloc[0]
    assert gate.tolist()[2:6] == ["33 %", "1.5", "0 %", ""]
    late = rows.loc[SPATIAL][rows.loc[SPATIAL]["setting"] == "no reuse, both late by 1"].iloc[0]
    assert late.tolist()[2:6] == ["0 %", "", "0 %", ""]
    assert len(set_apart.table(records(4))) == len(set_apart.table(records())) + 5  # and the gate of the third


def test_every_rung_is_a_setting_once():
    for suite in (SPATIAL, TEN):
        assert len({*set_apart.settings(suite)}) == len(set_apart.settings(suite))
        assert parse_setting("repeat when every(2)") in set_apart.settings(suite)
