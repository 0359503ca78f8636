"""Reuse rates of gates that were not run: replayed and predicted by hand, and on loops whose answer is known."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence import drift, prediction, share
from kvlab.reuse import parse_gate
from kvlab.study.records import Records
from kvlab.study.settings import Setting

CONTROL = Setting("none")


def looped(setting: Setting, positions: list[list[float]], task: int = 0) -> tuple[list[dict], list[dict]]:
    """What a setting records of one-dimensional worlds: similarity is one minus the distance to the anchor."""
    episodes, replans, gate = [], [], parse_gate(setting.gate)
    for state, path in enumerate(positions):
        who = {"suite": "libero_spatial", "task": task, "initial_state": state, "seed": 0}
        who |= asdict(setting)
        anchor = previous = age = None
        mine = []
        for n, place in enumerate(path):
            row = {"vision_anchor": np.nan, "vision_previous": np.nan}
            if n:
                row = {"vision_anchor": 1 - abs(place - anchor), "vision_previous": 1 - abs(place - previous)}
            row |= {f"{s}_{r}": row[f"vision_{r}"] for s in ("pixels", "state") for r in ("anchor", "previous")}
            row |= {"gripper": 2.0 * (n % 2), "curvature": np.nan, "spread": np.nan}
            reused = bool(n) and setting != CONTROL and gate.opens(row | {"age": age + 1})
            anchor, age, previous = (anchor, age + 1, place) if reused else (place, 0, place)
            mine.append(who | row | {"replan": n, "reused": reused, "age": age})
        replans += mine
        outcome = {"success": True, "replans": len(path), "reused": sum(r["reused"] for r in mine), "error": None}
        episodes.append(who | outcome)
    return episodes, replans


def study(settings: list[Setting], positions) -> Records:
    parts = [looped(setting, positions) for setting in settings]
    episodes = pd.DataFrame([row for part in parts for row in part[0]])
    replans = pd.DataFrame([row for part in parts for row in part[1]])
    return Records(episodes.astype({"success": "boolean", "error": "object"}), replans)


STEPS = np.random.default_rng(3).uniform(0, 0.06, (40, 25))
WALK = np.cumsum(STEPS, axis=1).tolist()
LOOSE, MIDDLE, STRICT = (Setting("full", f"vision >= {t}") for t in (0.8, 0.9, 0.96))


def test_the_control_predicts_by_its_own_signals_and_counts_an_age_limit():
    records = study([CONTROL], WALK)
    opens = (records.replans["vision_anchor"] >= 0.97).mean()  # the first of an episode has none
    assert 0.3 < opens < 0.7
    assert prediction.from_control(records, CONTROL, "vision >= 0.97") == pytest.approx(opens)
    # At most two in a row: p + p^2 kept for each computed one.
    limited = (opens + opens**2) / (1 + opens + opens**2)
    assert prediction.from_control(records, CONTROL, "vision >= 0.97 & age < 3") == pytest.approx(limited)
    assert prediction.from_control(records, CONTROL, "every(4)") == pytest.approx(3 / 4)
    assert prediction.from_control(records, CONTROL, "never") == 0


@pytest.mark.parametrize("wanted", [0.1, 0.5, 0.9])
def test_the_threshold_for_a_share_is_the_one_that_the_control_predicts_it_of(wanted):
    records = study([CONTROL], WALK)
    threshold = prediction.threshold(records, CONTROL, wanted)
    assert prediction.from_control(records, CONTROL, f"vision >= {threshold!r}") == pytest.approx(wanted, abs=0.001)
    with pytest.raises(ValueError, match="no threshold is reached by 99%"):
        prediction.threshold(records, CONTROL, 0.99)
    with pytest.raises(ValueError, match="share"):
        prediction.threshold(records, CONTROL, 0.0)


def test_an_arm_replayed_with_its_own_gate_gives_its_own_rate():
    records = study([CONTROL, MIDDLE], WALK)
    assert prediction.from_looser(records, MIDDLE, MIDDLE.gate) == share.reuse_share(records, MIDDLE)


def test_a_replay_by_hand():
    # Kept at 0.04, 0.08 and 0.11 of the first place, computed at 0.3; kept at 0.31, and the episode ends.
    records = study([LOOSE], [[0.0, 0.04, 0.08, 0.11, 0.3, 0.31]])
    assert records.replans.reused.to_list() == [False, True, True, True, False, True]
    assert prediction.from_looser(records, LOOSE, "vision >= 0.9") == 3 / 5  # 0.04, 0.08; 0.31: kept, with two computed
    assert prediction.from_looser(records, LOOSE, "vision >= 0.8 & age < 2") == 2 / 4
    with pytest.raises(ValueError, match="computed at replans at which `vision >= 0.5` would still reuse"):
        prediction.from_looser(records, LOOSE, "vision >= 0.5")


def test_a_cache_closed_once_is_not_taken_up_again():
    records = study([LOOSE], [[0.0, 0.15, 0.01]])  # there and back: the strict gate closes at 0.15 and would compute
    assert prediction.from_looser(records, LOOSE, "vision >= 0.9") == 0


def test_a_loop_that_a_gate_does_not_change_is_predicted_by_the_looser_arm_and_not_by_the_control():
    """The walk goes on whatever is reused, so only the ageing anchor counts: the control does not see it."""
    records = study([CONTROL, LOOSE, MIDDLE, STRICT], WALK)
    table = prediction.leave_one_out(records, [STRICT, MIDDLE, LOOSE], CONTROL)
    assert table.source.to_list() == [MIDDLE, LOOSE, None]
    for setting in (STRICT, MIDDLE):
        assert table.looser[setting] == pytest.approx(table.measured[setting].estimate, abs=0.03)
        assert table.control[setting] > table.measured[setting].estimate + 0.1
    assert np.isnan(table.looser[LOOSE])
    assert table.measured[MIDDLE].low < table.measured[MIDDLE].estimate < table.measured[MIDDLE].high


def test_loop_tells_an_old_anchor_and_a_robot_that_stands_still():
    path = [[0.0, 0.06, 0.12, 0.18, 0.18, 0.18]]
    settings = looped(MIDDLE, path)
    control = looped(CONTROL, [path[0][:4]])
    records = Records(*(pd.DataFrame(a + b) for a, b in zip(settings, control, strict=True)))
    assert records.replans.reused.to_list()[:6] == [False, True, False, True, True, True]
    row = drift.loop(records, [MIDDLE], CONTROL).loc[MIDDLE]
    assert (row.old, row.step) == (2 / 3, 1)  # at 0.12 the first place is too far, the step before is not
    assert (row.within, row.after, row.late) == (2 / 4, 1, 2 / 6)


def test_refusals_say_which_comparison_failed():
    both = Setting("full", "vision >= 0.9 & age < 3")
    # Kept twice, then too old; kept at 1.05, then too far at once; too far and too old together at the end.
    records = study([both], [[0.0, 0.01, 0.02, 0.03, 0.04, 0.6, 0.61, 0.62, 1.5]])
    assert records.replans.reused.to_list() == [False, True, True, False, True, False, True, True, False]
    table = drift.refusals(records, [both])
    assert table.loc[both].round(3).to_dict() == {"vision_anchor": 0.333, "age": 0.333, "several": 0.333}


def test_kept_caches_are_described_and_none_is_an_error():
    records = study([CONTROL, MIDDLE], [[0.0, 0.04, 0.08, 0.3, 0.31]])
    row = drift.kept(records, [MIDDLE]).loc[MIDDLE]
    assert (row.reuse, row.age, row.oldest) == (3 / 5, pytest.approx(4 / 3), 2)
    assert row.vision == pytest.approx(np.quantile([0.96, 0.92, 0.99], 0.05))
    with pytest.raises(ValueError, match="never reused"):
        drift.kept(records, [CONTROL])


def test_an_older_cache_is_less_similar():
    ages = drift.with_age(study([LOOSE], WALK), LOOSE)
    assert ages[0.5].is_monotonic_decreasing and (ages.replans >= 10).all()


def test_matched_takes_the_nearest_reuse_rate():
    records = study([LOOSE, MIDDLE, STRICT], WALK)
    table = drift.matched(records, [STRICT], [LOOSE, MIDDLE, STRICT])
    assert table.partner[STRICT] == MIDDLE and table.k[STRICT] == len(WALK)
