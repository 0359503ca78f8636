"""What *Recordings* says of made rows: other rows, other sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import recordings
from kvlab.evidence.duration import ENOUGH
from kvlab.study.settings import Setting

XEON = "Intel(R) Xeon(R) Processor (GenuineIntel, family 6, model 207)"
EPYC = "AMD EPYC (AuthenticAMD, family 25, model 17)"


@pytest.fixture
def episodes(make_row, make_records) -> pd.DataFrame:
    """ENOUGH episodes of each of two settings on an Intel Xeon, one after the other."""
    made = [
        (one, make_row(task, state, reuses=one.mode == "full") | {"processor": XEON})
        for one in (Setting("none"), Setting("full", "vision >= 0.98"))
        for state in range(ENOUGH // 10)
        for task in range(10)
    ]
    table = make_records(*made).episodes.assign(delays="", device="cpu", policy="mini")
    ends = pd.date_range("2026-01-01", periods=len(table), freq="30s", tz="UTC")
    return table.assign(recorded=[end.isoformat() for end in ends], wall_s=30.0)


@pytest.fixture
def now() -> pd.DataFrame:
    same = {"suite": "libero_spatial", "task": 2, "initial_state": 0, "setting": "none", "steps": 80, "replans": 16}
    same |= {"seed": 0, "agrees": True, "first_difference": pd.NA, "machine": f"processor {XEON} / {EPYC}"}
    return pd.DataFrame([same, same | {"task": 3}])


@pytest.fixture
def elsewhere(now) -> pd.DataFrame:
    return now.head(1).assign(recorded_on=XEON, run_on=EPYC)


def test_what_is_recorded_is_counted(episodes, now, elsewhere):
    recorded, _, took = recordings.findings(episodes, now, elsewhere, {})
    assert recorded.startswith("**40 episodes of 2 settings are recorded, in 1 suite by 1 policy.** They have 120 rep")
    assert recorded.endswith("in 2 recordings.")
    others = [{"suite": "libero_10"}, {"delays": "4, 0"}, {"policy": "mini_seed1"}]
    more = pd.concat([episodes, *(episodes.assign(**other) for other in others)])
    told = recordings.findings(more, now, elsewhere, {})[0]
    assert "of 2 settings are recorded, in 2 suites by 2 policies.**" in told and told.endswith("in 8 recordings.")
    assert "120 replans, in 2 recordings." in recorded and recordings.by_policy(episodes)["errors"].tolist() == [0]
    assert took.startswith("**To record everything from nothing would take 20 minutes with 1 process of an Intel Xeon.")
    assert took.endswith("These scale each processor's mean times; none was run in one go.")
    assert "Not counted here" not in recorded
    told = recordings.findings(episodes, now, elsewhere, {"in int8": 600, "elsewhere": 0, "on a GPU": 1})[0]
    assert told.endswith(" Not counted here: 600 episodes in int8 and 1 episode on a GPU.")
    failed = episodes.assign(error=[None] * 39 + ["GL: lost"])
    assert recordings.by_policy(failed)["errors"].tolist() == [1]


def test_bits_that_agree_are_said_without_a_word_of_this_machine(episodes, now, elsewhere):
    said = recordings.findings(episodes, now, elsewhere, {})[1]
    assert said.startswith(
        "**3 of 3 episodes that were run again came out to the bit.** Of 2 episodes run again while "
        "this page was made, 2 have the recorded outcome and, to the bit, every chunk of actions."
    )
    assert said.endswith(
        "So have 1 of 1 that were recorded on an Intel Xeon and run again on an AMD EPYC. They were chosen, so "
        "this gives no share of all episodes."
    )
    assert "family" not in said and recordings.compared(now)["first replan that differs"].tolist() == ["none", "none"]
    assert recordings.compared(now).columns[-1] == "first replan that differs"


def test_kinds_of_episodes_that_were_not_run_again_are_named(episodes, now, elsewhere):
    assert recordings.not_again(episodes, now, elsewhere) == ""
    later = pd.concat([episodes, episodes.assign(seed=1), episodes.assign(gate="pixels >= 0.9")])
    assert recordings.not_again(later, now, elsewhere) == (
        "Not among these are episodes with a gate on thumbnails or of another seed."
    )
    there = elsewhere.assign(setting="full when pixels >= 0.9")
    assert recordings.not_again(later, now, there).endswith("are episodes of another seed.")


def test_the_first_that_differs_is_named_with_what_differs_between_the_machines(episodes, now, elsewhere):
    other = now.assign(agrees=[True, False], first_difference=[pd.NA, 7])
    said = recordings.findings(episodes, other, elsewhere, {})[1]
    assert "**Some episodes come out differently.** Of 2 episodes" in said and "made, 1 has the recorded" in said
    assert "task 3, initial state 0 of `none` in `libero_spatial`: its first replan that differs is number 7" in said
    assert f"Between the machines differ: processor {XEON} / {EPYC}." in said
    assert recordings.compared(other).iloc[1, -2:].tolist() == ["7", f"processor {XEON} / {EPYC}"]
    alike = recordings.findings(episodes, other.assign(machine=""), elsewhere, {})[1]
    assert alike.endswith("The machines are named alike.")
    outcome = recordings.findings(episodes, now.assign(agrees=False), elsewhere, {})[1]
    assert "task 2, initial state 0 of `none` in `libero_spatial`: its outcome." in outcome


def test_what_no_processor_recorded_enough_of_has_no_time(episodes, now, elsewhere):
    few = episodes.head(ENOUGH - 1)
    assert "is not known" in recordings.findings(few, now, elsewhere, {})[2]


def test_each_processor_would_do_by_itself(episodes, now, elsewhere):
    both = pd.concat([episodes, episodes.assign(processor=EPYC)])
    took = recordings.findings(both, now, elsewhere, {})[2]
    assert "40 minutes with 1 process of an " in took and " or 40 minutes with 1 process of an " in took


def test_machines_settings_and_worlds_are_told_apart(episodes):
    some = episodes.assign(processor=[XEON] * 30 + [EPYC] * 10, delays=["4, 0"] * 20 + [""] * 20)
    by_origin = recordings.by_origin(some)
    assert by_origin.columns.tolist() == ["Intel Xeon", "AMD EPYC"]
    assert by_origin.loc["episodes of libero_spatial"].tolist() == ["30", "10"]
    table = recordings.by_recording(some.assign(seed=1))
    assert table.index.tolist() == ["full when vision >= 0.98, seed 1", "none, delays of 4, 0, seed 1"]
    assert table["successes"].tolist() == [f"{int(episodes.head(20).success.sum())} of 20"] * 2
    assert table["replans that reuse"].tolist() == ["33 %", "0 %"]
    assert recordings.by_policy(some).loc["mini", ["recordings", "episodes"]].tolist() == [2, "40"]


def test_what_was_not_run_to_its_end_is_said(episodes):
    assert recordings.partial(episodes) == "Every recording has 20 episodes."
    some = pd.concat([episodes, episodes.head(5).assign(seed=1)])
    assert recordings.partial(some) == (
        "1 recording of 3 has fewer than 20 episodes (5 of seed 1). No result of this book counts them."
    )
    more = pd.concat([some, episodes.head(2).assign(seed=2)])
    assert "have fewer than 20 episodes (2 to 5 of seed 1 and 2)." in recordings.partial(more)


def test_policies_of_one_suite_have_rows_of_their_own(episodes):
    both = pd.concat([episodes, episodes.head(5).assign(policy="mini_seed1")])
    table = recordings.by_policy(both)
    assert table.index.tolist() == ["mini", "mini_seed1"] and table["episodes"].tolist() == ["40", "5"]
    listed = recordings.by_recording(both)
    assert listed.index.tolist() == ["full when vision >= 0.98", "none", "none"]
    assert listed["policy"].tolist() == ["mini", "mini", "mini_seed1"]
