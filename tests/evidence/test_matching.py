"""Settings and a curve at equal reuse: curves whose value is known, what is refused, how often intervals cover."""

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence import matching
from kvlab.study.records import EPISODE, SETTING, Records
from kvlab.study.settings import Setting

CONTROL, SHUT, OPEN, GATE = (
    Setting("none"),
    Setting("full", "vision >= 0.99"),
    Setting("full", "vision >= 0.9"),
    Setting("full", "state >= 0.9"),
)
EPISODES = pd.MultiIndex.from_tuples([("libero_spatial", n % 10, n // 10, 0) for n in range(100)], names=EPISODE)


def setting(success, reused, replans=20) -> pd.DataFrame:
    """What `exposure` gives for 100 episodes; whole numbers are spread evenly, successes over the first episodes."""
    won = np.arange(100) < success if np.isscalar(success) else success
    return pd.DataFrame({"reused": reused, "replans": replans, "success": won}, index=EPISODES)


def records(**reuses: tuple[Setting, list[list[bool]]]) -> Records:
    """Rows of episodes by the decisions at their replans; all succeed."""
    episodes, replans = [], []
    for one, decisions in reuses.values():
        for task, decided in enumerate(decisions):
            who = {"suite": "libero_spatial", "task": task, "initial_state": 0, "seed": 0}
            who |= {name: getattr(one, name) for name in SETTING}
            counts = {"replans": len(decided), "reused": sum(decided)}
            episodes.append(who | counts | {"success": True, "error": None})
            replans += [who | {"replan": n, "reused": reused} for n, reused in enumerate(decided)]
    return Records(pd.DataFrame(episodes).astype({"error": "object"}), pd.DataFrame(replans))


def test_a_curve_is_of_the_plain_image_gates_of_a_mode():
    others = ["vision >= 0.9 & state >= 0.9", "vision@previous >= 0.9", "vision >= 0.9 if gripper < 1 else 0.98"]
    rows = [CONTROL, SHUT, *(Setting("full", gate) for gate in others), Setting("prefix", "vision >= 0.9"), OPEN]
    rows += [Setting("full", "vision >= 0.8", denoising_steps=2), GATE]
    found = records(**{f"s{n}": (one, [[False, True]]) for n, one in enumerate(rows)})
    assert matching.image_gates(found, "full") == [SHUT, OPEN]
    assert matching.image_gates(found, "chunk") == []


LINE = [setting(100, 0), setting(80, 4), setting(20, 10)]  # 100, 80 and 20 % at reuse rates 0, 20 and 50 %


@pytest.mark.parametrize(
    ("reused", "expected"), [(0, 1.0), (2, 0.9), (4, 0.8), (6, 0.6), (7, 0.5), (10, 0.2)], ids=lambda v: str(v)
)
def test_the_curve_runs_straight_from_arm_to_setting(reused, expected):
    measured = matching.gain(setting(70, reused), LINE, resamples=100)
    assert measured.estimate == pytest.approx(0.7 - expected)
    assert measured.low <= measured.estimate <= measured.high and measured.method == "stratified percentile"


def test_the_order_of_arms_and_of_episodes_does_not_matter():
    here = matching.gain(setting(70, 7), LINE)
    assert matching.gain(setting(70, 7), LINE[::-1]) == here
    assert matching.gain(setting(70, 7), [table.sample(frac=1, random_state=1) for table in LINE]) == here


@pytest.mark.parametrize("table", LINE)
def test_an_arm_of_the_curve_gains_nothing_and_is_still_uncertain(table):
    same = matching.gain(table.copy(), LINE)
    assert same.estimate == 0 and same.collapsed and same.method == "tango"
    assert same.low < 0 < same.high


def test_two_arms_that_reuse_alike_count_by_their_middle():
    assert matching.gain(setting(70, 4), [*LINE, setting(60, 4)], resamples=100).estimate == pytest.approx(0)


def test_one_seed_gives_one_interval():
    uneven = setting(70, 4 + np.arange(100) % 7)
    assert matching.gain(uneven, LINE, seed=3) == matching.gain(uneven, LINE, seed=3)
    assert matching.gain(uneven, LINE, seed=3) != matching.gain(uneven, LINE, seed=4)


def test_pairing_takes_out_what_hard_episodes_do_to_all_settings():
    """Settings that win the same episodes differ by less than others do, and the interval must know it."""
    curve = [setting(50, 0), setting(50, 10)]
    others = np.arange(100) >= 40  # as many, six of each task's ten episodes
    assert matching.gain(setting(60, 5), curve).width < 0.5 * matching.gain(setting(others, 5), curve).width


def test_a_rate_beyond_the_curve_is_refused():
    with pytest.raises(ValueError, match=r"as recorded .*: 55.0%, .* from 0.0% to 50.0%; .* not extrapolated"):
        matching.gain(setting(10, 11), LINE)
    with pytest.raises(ValueError, match=r"as recorded .*: 10.0%, .* from 20.0% to 50.0%"):
        matching.gain(setting(10, 2), LINE[1:])


def test_a_rate_that_only_resamples_carry_beyond_the_curve_is_refused():
    uneven = np.where(np.arange(100) < 50, 19, 0)  # 47.5 %, anything around it in a resample
    with pytest.raises(ValueError, match=r"in \d+ of 10000 resamples .*: 5\d\.\d%, .* not extrapolated"):
        matching.gain(setting(10, uneven), LINE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: matching.gain(setting(70, 7).iloc[:50], LINE), "were not run on the same episodes"),
        (lambda: matching.gain(setting(70, 7), [LINE[0], LINE[2].iloc[:50]]), "were not run on the same episodes"),
        (lambda: matching.gain(setting(70, 7), LINE[:1]), "a curve needs at least 2 settings to run between, got 1"),
        (
            lambda: matching.gain(setting(70, 7), LINE, confidence=95),
            "confidence = 95 must lie strictly between 0 and 1",
        ),
        (
            lambda: matching.gain(setting(70, 7), LINE, resamples=10),
            "resamples = 10 must be a whole number of at least",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_one_episode_a_task_still_has_an_interval():
    few = [table.iloc[:3] for table in (setting(1, 5), *LINE)]
    single = matching.gain(few[0], few[1:])
    assert single.collapsed and single.low < single.estimate < single.high
    assert single.estimate == pytest.approx(
        1 / 3 - 1
    )  # on the first three episodes every setting of the curve succeeds


def test_intervals_cover_where_both_families_have_one_true_curve():
    """Nominal 95 %; of 200 simulated studies chance alone leaves 3 % (two standard errors) to either side.

    Drawing 10 episodes out of 10 within a task makes the bootstrap about 5 % too narrow, so 2 % more below.
    """
    rng, covered = np.random.default_rng(0), 0
    slope, studies = -1.2, 200
    for _ in range(studies):
        hard = rng.normal(0, 0.1, 100)  # what episodes share between settings
        tables = []
        for rate in (0.0, 0.2, 0.4, 0.6, 0.3):
            chance = np.clip(0.95 + slope * rate + hard, 0, 1)
            replans = rng.integers(15, 45, 100)
            reused = rng.binomial(replans, np.clip(rate + rng.normal(0, 0.02, 100), 0, 1) if rate else 0)
            tables.append(setting(rng.random(100) < chance, reused, replans))
        covered += 0 in matching.gain(tables[-1], tables[:-1], resamples=200)
    assert 0.9 <= covered / studies <= 0.98


def study() -> Records:
    """Ten episodes that succeed in every setting, at reuse rates 0, 20, 50 and 80 %."""
    shares = {CONTROL: 0, SHUT: 2, GATE: 5, OPEN: 8}
    return records(**{str(a): (a, [[n >= 10 - many for n in range(10)]] * 10) for a, many in shares.items()})


def test_a_table_has_a_row_for_each_arm_and_intervals_that_hold_together():
    table = matching.matched(study(), [SHUT, GATE], [CONTROL, OPEN], confidence=0.9)
    assert list(table.index) == [SHUT, GATE] and table.reuse.tolist() == [0.2, 0.5]
    assert table.success.tolist() == table.expected.tolist() == [1.0, 1.0]
    assert all(interval.confidence == pytest.approx(0.95) for interval in table.gain)
    printed = matching.shown(table, lambda a: a.gate)
    assert printed.loc["state >= 0.9", ["reuse", "success", "curve there"]].tolist() == ["50%", "100%", "100%"]
    assert printed.points["state >= 0.9"].startswith("0 (-")


def test_an_arm_that_the_curve_does_not_reach_is_an_error_or_says_so():
    with pytest.raises(matching.BeyondCurve, match="outside the curve: 50.0%, the curve reaches from 0.0% to 20.0%"):
        matching.matched(study(), [SHUT, GATE], [CONTROL, SHUT])
    table = matching.matched(study(), [SHUT, GATE], [CONTROL, SHUT], beyond=True)
    assert table.gain[SHUT].estimate == 0 and table.gain[GATE] is None and np.isnan(table.expected[GATE])
    assert matching.shown(table).loc[str(GATE)].tolist() == ["50%", "100%", "does not reach", ""]


def test_leaving_out_says_how_straight_a_curve_is():
    seen = study()
    seen.episodes.loc[(seen.episodes.gate == GATE.gate) & (seen.episodes.task < 4), "success"] = False
    off = matching.left_out(seen, [OPEN, GATE, CONTROL, SHUT])
    assert list(off.index) == [SHUT, GATE]
    assert off[GATE] == pytest.approx(-0.4)
    assert off[SHUT] == pytest.approx(0.4 * 0.2 / 0.5)  # success falls to 60 % at a reuse rate of 50 %
