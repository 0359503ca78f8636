"""What *Synchronized gating* says of made rows and made comparisons: other rows, other sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import clocks, gate_kinds, gate_tables
from kvlab.book.answers import synchronized_gating as answers
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from made import TIMES, gained, made

NO_REUSE = Setting("none")
BOTH, STATE, CLOCK, SMALL = (
    Setting("full", gate) for gate in ("vision >= 0.9 & state >= 0.9", "state >= 0.9", "every(2)", "pixels >= 0.9")
)
BEFORE, IMAGES = Setting("full", "vision@previous >= 0.9"), Setting("full", "vision >= 0.9")
ADAPTIVE = Setting("full", "vision >= 0.9 if gripper < 1 and spread < 0.3 else 0.98")
OFF = pd.Series([0.01, -0.2], [Setting("full", f"vision >= {t}") for t in (0.99, 0.9)])
ALIKE, NEAR, LOSS, GAIN = (0, -0.2, 0.15), (0.01, -0.05, 0.06), (-0.2, -0.3, -0.1), (0.2, 0.1, 0.3)


def episodes(k, reused, age=1):
    return [(n < k, 20, [0 < r <= reused for r in range(4)]) for n in range(100)]


@pytest.fixture
def same():
    """`stricter` of a gate on images that reuses twice as often as the one on images and robot state."""
    records = made({IMAGES: episodes(50, 2), BOTH: episodes(90, 1)})
    records.replans["vision_anchor"], records.replans["state_anchor"], records.replans["age"] = 0.95, 0.5, 0
    return answers.stricter(records, [BOTH, STATE, CLOCK, Setting("full", "vision >= 0.8 & state >= 0.8")], 0.95)


def said(points, needed=None, same=None):
    table = {"short": gained(points)}
    within = {"short": gained(needed or points)}
    second = {"short": pd.DataFrame() if same is None else same}
    return answers.findings(table, within, (table, within), second, OFF, {"short": aged()}, 0.1)


def aged() -> Records:
    """A clock whose caches are one replan old, and image gates that reuse as often and less so until no reuse ended.

    Of 6 replans no reuse takes 4: of the first gate 1, 2 and 3 are counted as reused, of the second none.
    """
    clock, often, late = ([False, True] * 3, [False, *[True] * 3, False, False], [*[False] * 3, *[True] * 3])
    reuses = {NO_REUSE: [False] * 4, CLOCK: clock, IMAGES: often, Setting("full", "vision >= 0.95"): late}
    return made({setting: [(True, 20, reused)] * 10 for setting, reused in reuses.items()})


def test_a_second_condition_is_told_at_one_threshold_and_at_equal_reuse(same):
    claim = said({BOTH: NEAR}, same=same)[1]
    assert claim.startswith(
        "**At one threshold a second condition solves more in 1 of 1 comparison, since it reuses less; at equal reuse "
        "that is open.** In `short` the gate images ≥ 0.9 allows"
    )
    assert "allows reuse at 50 % of replans, and 50 of 100 episodes succeed" in claim
    assert "allows 25 %, and 90 succeed: 40 points more than with images alone" in claim
    assert claim.endswith(
        "At equal reuse that is 1 point more than with images alone (5 fewer to 6 more) over all replans; 1 point more "
        "than with images alone (5 fewer to 6 more) over needed replans."
    )


def test_a_second_condition_is_counted_in_every_suite(same):
    alike = same.assign(difference=[Interval(0.0, -0.1, 0.1, 0.95, "tango")])
    tables = gained({BOTH: NEAR})
    claim = answers.second_condition("short", {"short": same, "long": alike, "none": pd.DataFrame()}, tables, tables)
    assert claim.startswith("**At one threshold a second condition solves more in 1 of 2 comparisons, since")


@pytest.mark.parametrize(
    ("every", "within", "lead"),
    [
        (GAIN, GAIN, "and at equal reuse"),
        (GAIN, NEAR, "since it reuses less; at equal reuse that is open"),
        (LOSS, LOSS, "but fewer at equal reuse"),
        (None, NEAR, "since it reuses less; at equal reuse that is open"),
    ],
)
def test_a_second_condition_helps_at_equal_reuse_only_where_both_counts_say_so(same, every, within, lead):
    claim = said({BOTH: every}, {BOTH: within}, same=same)[-1 if every != LOSS else 1]
    assert claim.startswith(f"**At one threshold a second condition solves more in 1 of 1 comparison, {lead}.**")
    assert claim.count("over all replans") == (every is not None)
    assert claim.count("over needed replans") == 1


def test_only_pairs_of_one_threshold_that_were_run_stand_side_by_side(same):
    assert [*same.index] == [BOTH] and same.state_anchor[BOTH] == 1
    table = gate_tables.thresholds({"short": same, "long": pd.DataFrame()})
    assert table.iloc[0].to_list()[:3] == ["images ≥ 0.9", "50 (50 %)", "90 (25 %)"]
    assert table["refused by state"].to_list() == ["100 %"]


def test_all_gates_but_clocks_are_counted_once():
    (claim,) = said({BOTH: NEAR, STATE: ALIKE, CLOCK: LOSS}, {BOTH: NEAR, STATE: None, CLOCK: None})
    assert claim == (
        "**Where the images have changed little: at equal reuse none of 2 gates is shown to be better than the image "
        "gate, none worse.** A verdict needs both counts of reuse to agree; for none they disagree. 1 is shown to be "
        "within 10 points in both; for 1 more that is open."
    )
    claim = said({BOTH: GAIN, SMALL: LOSS, STATE: ALIKE, CLOCK: ALIKE, BEFORE: None})[0]
    assert claim.startswith(
        "**That depends on what the gate compares: at equal reuse 1 of 3 gates is shown to be better than the image "
        "gate, 1 worse.**"
    )
    assert "None is shown to be within 10 points in both; for 1 more that is open." in claim
    assert claim.endswith(" 1 more reuses more often than any image gate.")


def test_a_verdict_of_one_count_only_is_open_and_stands_in_the_table():
    first = {BOTH: GAIN, SMALL: LOSS, STATE: NEAR, ADAPTIVE: GAIN}
    second = {BOTH: ALIKE, SMALL: ALIKE, STATE: LOSS, ADAPTIVE: LOSS}
    (alike,) = said(first, second)
    assert "none of 4 gates is shown to be better than the image gate, none worse.**" in alike
    assert "; for 4 they disagree. None is shown" in alike and "for none more" in alike
    shown = [gate_kinds.in_both(*gains) for gains in zip(gained(first).gain, gained(second).gain, strict=True)]
    assert shown == [
        *("better over all replans only", "worse over all replans only", "worse over needed replans only"),
        "better over all replans, worse over needed replans",
    ]
    title = answers.headline({"short": gained(first)}, {"short": gained(second)})
    assert title == (
        "At equal reuse, in both counts, none of 4 gates that look "
        "is shown to be worse than the image gate, none better"
    )


def test_gates_that_lose_are_counted_by_kind_and_the_curve_is_doubted():
    strict, before = Setting("full", "pixels >= 0.95"), (-0.1, -0.19, -0.01)
    every = {SMALL: LOSS, strict: ALIKE, BEFORE: before, STATE: ALIKE}
    alike, worse = said(every, every | {SMALL: before})
    assert worse.startswith(
        "**Worse in both counts: 1 of 2 gates on thumbnails and 1 of 1 gate on images of the replan before.**"
    )
    assert "reuse is allowed at 50 % of replans in `short`; there the policy solves 20 points fewer" in worse
    assert worse.endswith("left out, the line misses it by 10 points in the median and by 20 at most.")
    assert ", 2 worse.**" in alike
    tables = {"short": gained({SMALL: LOSS, STATE: ALIKE})}
    title = answers.headline(tables, tables)
    assert title == (
        "At equal reuse, in both counts, 1 of 2 gates that look is shown to be worse than the image gate, none better"
    )
    assert "open" not in worse


@pytest.mark.parametrize(
    ("every", "within", "lead", "disagree", "ages"),
    [
        (LOSS, LOSS, "1 is shown to be worse than the image gate at equal reuse, none better", "none", "worse 1.0"),
        (GAIN, GAIN, "none is shown to be worse than the image gate at equal reuse, 1 better", "none", "better 1.0"),
        (LOSS, ALIKE, "none is shown to be worse than the image gate at equal reuse, none better", 1, "undecided 1.0"),
        (NEAR, ALIKE, "none is shown to be worse than the image gate at equal reuse, none better", "none", "undecided"),
    ],
)
def test_a_clock_is_told_in_both_counts(every, within, lead, disagree, ages):
    (claim,) = said({CLOCK: every}, {CLOCK: within})
    assert claim.startswith(
        f"**Of 1 clock, which look at nothing, {lead}.** For {disagree} the counts disagree. Mean ages of their "
        f"caches, in replans: {ages}"
    )
    assert claim.endswith("Age and moments apart: [Why reuse fails](why_reuse_fails.ipynb).")
    assert said({CLOCK: None, STATE: ALIKE})[0].startswith("**Where the images")  # out of the curve's reach


def test_clocks_of_every_suite_are_told_by_the_age_of_their_caches():
    old = Setting("full", "every(4)")
    rows = {NO_REUSE: [False] * 4, CLOCK: [False, True] * 2, old: [False, *[True] * 3]}
    records = {"short": made({setting: [(True, 20, reused)] * 10 for setting, reused in rows.items()}), "long": aged()}
    first = {"short": gained({CLOCK: ALIKE, old: LOSS}), "long": gained({CLOCK: NEAR}), "none": gained({STATE: ALIKE})}
    again = first | {"long": gained({CLOCK: GAIN})}
    claim = clocks.clock(first, again, records)
    assert claim.startswith("**Of 3 clocks, which look at nothing, 1 is shown to be worse than the image gate at equal")
    assert "For 1 the counts disagree. Mean ages of their caches, in replans: worse 2.0; undecided 1.0." in claim
    table = clocks.table(first, again, records)
    assert table["mean age, replans"].to_list() == ["1.0", "1.0", "2.0"]
    assert table["in both counts"].to_list() == ["open", "better over needed replans only", "worse in both"]
    assert clocks.clock({"none": first["none"]}, again, records) is None


def test_what_a_gate_compares_is_told_by_what_it_reads():
    assert [gate_kinds.kind(setting) for setting in (BOTH, STATE, CLOCK, SMALL, BEFORE, ADAPTIVE)] == [
        *("images and robot state", "robot state", "nothing (a clock)", "thumbnails"),
        *("images of the replan before", "images by the phase of the task"),
    ]
    assert gate_kinds.looks([CLOCK, ADAPTIVE]) == ["every", "adaptive"]
    with pytest.raises(ValueError, match="no word for what the gate `pixels >= 0.9 & state >= 0.9` compares"):
        gate_kinds.kind(Setting("full", "pixels >= 0.9 & state >= 0.9"))


def test_every_gate_has_its_place_in_the_figure():
    tables = {"short": gained({STATE: ALIKE, SMALL: None}), "long": gained({BOTH: NEAR})}
    labels, intervals, again, names = answers.forest(tables, tables)
    assert labels == ["robot state ≥ 0.9", "long: images, robot state ≥ 0.9"]
    assert intervals == again and len(intervals) == 2 and names == ["state", "synchronized"]
    adaptive = {"short": gained({ADAPTIVE: NEAR})}
    assert answers.forest(adaptive, {"short": gained({ADAPTIVE: None})})[2] == [None]
    assert answers.forest(adaptive, adaptive)[0] == ["images by gripper, spread"]


def test_the_spread_pays_only_where_a_chunk_is_cheaper_than_what_reuse_saves():
    said = answers.spread(gained({STATE: ALIKE, ADAPTIVE: ALIKE}), TIMES)
    assert (
        said.startswith("The spread cannot pay.")
        and "reuse saves 20 ms for each of these; one chunk takes 40 ms" in said
    )
    assert answers.spread(gained({ADAPTIVE: ALIKE}, reuse=0.9), TIMES).startswith("The spread may pay.")
    assert answers.spread(gained({STATE: ALIKE}), TIMES) == ""
