"""Pilots against full runs: exact chances against every pilot there is, on records small enough to count by hand."""

import itertools
import math
from dataclasses import asdict

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlab.evidence import ranking
from kvlab.evidence.stats import (
    Pairs,
    episodes_inside,
    episodes_paired,
    paired_difference,
    pilot_ranking,
    power_inside,
    power_paired,
    smallest_drop_paired,
)
from kvlab.study.records import Records
from kvlab.study.settings import Setting

CONTROL, GOOD, BAD = Setting("none"), Setting("full", "vision >= 0.98"), Setting("full", "vision >= 0.9")
GRID = [(k % 10, k // 10) for k in range(20)]


def records(outcomes: dict[Setting, list[bool]]) -> Records:
    """Outcomes of each setting on the first episodes of `libero_spatial`, in the studies' order."""
    rows = [
        {"suite": "libero_spatial", "task": task, "initial_state": state, "seed": 0, "success": success}
        | {**asdict(setting), "error": None}
        for setting, successes in outcomes.items()
        for (task, state), success in zip(GRID, successes, strict=False)
    ]
    table = pd.DataFrame(rows).astype({"success": "boolean", "error": "object"})
    return Records(table, table)


@given(st.tuples(*[st.integers(0, 3)] * 4).filter(lambda cells: sum(cells) >= 2), st.data())
@settings(deadline=None, max_examples=40)
def test_pilot_ranking_counts_every_pilot(cells, data):
    pairs = Pairs(*cells)
    episodes = data.draw(st.integers(1, pairs.n))
    differences = [0] * (pairs.both + pairs.neither) + [1] * pairs.setting_only + [-1] * pairs.control_only
    sums = [sum(drawn) for drawn in itertools.combinations(differences, episodes)]
    chances = pilot_ranking(pairs, episodes)
    assert chances.ahead == pytest.approx(sum(s > 0 for s in sums) / len(sums))
    assert chances.level == pytest.approx(sum(s == 0 for s in sums) / len(sums))
    assert chances.behind == pytest.approx(sum(s < 0 for s in sums) / len(sums))


def test_a_pilot_of_all_episodes_ranks_as_they_do():
    assert pilot_ranking(Pairs(50, 10, 30, 10), 100).behind == 1
    assert pilot_ranking(Pairs(50, 20, 20, 10), 100).level == 1


@pytest.mark.parametrize("episodes", [0, 5])
def test_a_pilot_has_from_one_to_all_episodes(episodes):
    with pytest.raises(ValueError, match=r"must not outnumber|at least 1"):
        pilot_ranking(Pairs(1, 1, 1, 1), episodes)


def test_six_differing_pairs_are_the_least_that_mcnemar_can_find():
    assert episodes_paired(1.0) == 6  # 2 (1/2)^6 is the first below 0.05
    # With no luck the test rejects where 6 of n pairs differ: binomial(n, 0.1) reaches 6 with chance 0.8 at n = 78.
    below = [sum(math.comb(n, d) * 0.1**d * 0.9 ** (n - d) for d in range(6)) for n in (77, 78)]
    assert below[1] <= 0.2 < below[0] and episodes_paired(0.1) == 78


@pytest.mark.parametrize(("drop", "flips"), [(0.05, 0.0), (0.2, 0.05), (0.5, 0.1)])
def test_episodes_needed_turn_round_the_smallest_drop(drop, flips):
    n = episodes_paired(drop, flips)
    assert power_paired(n, flips, flips + drop) >= 0.8 > power_paired(n - 1, flips, flips + drop)
    assert smallest_drop_paired(n, flips) <= drop + 1e-5 < smallest_drop_paired(n - 1, flips) + 2e-5


@pytest.mark.parametrize(("drop", "flips"), [(0.0, 0.0), (0.9, 0.1), (0.1, 0.5)])
def test_a_drop_that_cannot_be_is_refused(drop, flips):
    with pytest.raises(ValueError, match=r"must lie in \(0, 1 - 2 flips\]"):
        episodes_paired(drop, flips)


@pytest.mark.parametrize(
    ("pairs", "differ", "margin"), [(20, 0.1, 0.2), (30, 0.3, 0.2), (40, 0.0, 0.1), (30, 0.0, 0.1)]
)
def test_the_chance_to_exclude_a_loss_counts_every_outcome(pairs, differ, margin):
    """Every count of wins and losses, with its trinomial chance and its interval as the tables have it."""
    chance = 0.0
    for won, lost in itertools.product(range(pairs + 1), repeat=2):
        if (alike := pairs - won - lost) >= 0:
            ways = math.comb(pairs, alike) * math.comb(won + lost, won)
            interval = paired_difference(Pairs(alike, won, lost, 0))
            chance += ways * (1 - differ) ** alike * (differ / 2) ** (won + lost) * (interval.low > -margin)
    assert power_inside(pairs, differ, margin) == pytest.approx(chance, abs=1e-8)


def test_episodes_that_exclude_a_loss():
    n = episodes_inside(0.05, 0.05)
    assert power_inside(n, 0.05, 0.05) >= 0.8 > power_inside(n - 1, 0.05, 0.05)
    # Where nothing differs: Tango's lower bound is -z^2 / (n + z^2), with z = 1.96 above -0.05 from n = 73 on.
    assert episodes_inside(0.05, 0.0) == 73
    with pytest.raises(ValueError, match="margin"):
        episodes_inside(0.0, 0.1)


def test_rankings_of_three_settings():
    outcomes = {
        CONTROL: [True] * 20,
        GOOD: [False] + [True] * 19,  # loses the very first episode alone
        BAD: [True, True, True] + [False] * 17,
    }
    ranked = ranking.rankings(records(outcomes), [BAD, GOOD, CONTROL], [3])
    assert list(ranked.index) == [(CONTROL, GOOD, 3), (CONTROL, BAD, 3), (GOOD, BAD, 3)]
    assert list(ranked.points) == pytest.approx([5, 85, 80])
    assert list(ranked["first"]) == ["right", "level", "wrong"]
    assert list(ranked.decided) == [False, True, True]
    assert list(ranked.lucky) == [0, 0, 1 / 20]
    assert ranked.right.iloc[0] == pytest.approx(3 / 20) and ranked.wrong.iloc[0] == 0
    # GOOD against BAD: 17 wins, 1 loss, 2 alike; a pilot is wrong with the loss and both alike.
    assert ranked.wrong.iloc[2] == pytest.approx(1 / math.comb(20, 3))
    assert (ranked.right + ranked.level + ranked.wrong).to_list() == pytest.approx([1] * 3)
    means = ranking.of_pilots(ranked)
    assert means.pairs.to_list() == [1, 2]
    assert means.loc[(True, 3), ["first right", "first level", "first wrong"]].to_list() == [0, 1, 1]
    assert means.wrong[True, 3] == pytest.approx(ranked.wrong.iloc[1:].mean())


def test_arms_that_are_level_have_no_order():
    with pytest.raises(ValueError, match="the same successes"):
        ranking.rankings(records({CONTROL: [True] * 20, GOOD: [True] * 20}), [CONTROL, GOOD], [3])
    with pytest.raises(ValueError, match="at least two settings"):
        ranking.rankings(records({CONTROL: [True] * 20}), [CONTROL], [3])
