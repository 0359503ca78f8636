"""What is said at equal reuse of made gains: like gates compared with like gates."""

import pandas as pd
import pytest

from kvlab.book.answers import fresh_state as answers
from kvlab.study.settings import Setting
from made import gained, made

SELDOM, HALF, OFTEN = (Setting("prefix", f"vision >= {t}") for t in (0.98, 0.95, 0.9))
CLOCK = Setting("prefix", "every(2)")
MORE, FEWER, OPEN = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.01, -0.05, 0.06)


def table(points: dict) -> pd.DataFrame:
    """`matched` of gains at 20, 50 and 80 % of replans."""
    shares = {SELDOM: 0.2, HALF: 0.5, OFTEN: 0.8, CLOCK: 0.5}
    return gained(points).assign(reuse=[shares[one] for one in points])


def test_shares_at_which_it_shows_stand_apart_from_those_at_which_it_does_not():
    claim = answers.state({"short": table({OFTEN: (0.4, 0.3, 0.5), SELDOM: OPEN, HALF: MORE})})
    assert claim == (
        "**Keep images and instruction, not the robot state.** `prefix` is compared with `full` behind image gates, at "
        "equal reuse. In `short` it is shown to solve more at 50 and 80 % of replans, and no difference is shown at 20 "
        "%: at 50 %, 20 points more than `full` (10 to 30)."
    )
    assert answers.state({"short": table({HALF: OPEN})}).endswith(
        "In `short` no difference is shown at 50 %: at 50 %, 1 point more than `full` (5 fewer to 6 more)."
    )


@pytest.mark.parametrize(
    ("short", "long", "lead", "title"),
    [
        (MORE, MORE, "Keep images and instruction, not the robot state", " solves more"),
        (
            MORE,
            OPEN,
            "Keep images and instruction, not the robot state: in `short` that is shown to solve more",
            "more in",
        ),
        (OPEN, OPEN, "Whether to keep the robot state is open", "is not shown throughout"),
        (MORE, FEWER, "Whether to keep the robot state depends on suite and reuse", "is not shown throughout"),
        (FEWER, OPEN, "Keep the robot state too", "is not shown throughout"),
    ],
)
def test_the_lead_follows_from_both_suites(short, long, lead, title):
    both = {"short": table({HALF: short}), "long": table({HALF: long})}
    assert answers.state(both).startswith(f"**{lead}.**")
    assert title in answers.headline(both)


def test_frequent_is_said_only_where_no_frequent_one_fails_to_show_it():
    assert answers.headline({"a": table({SELDOM: OPEN, HALF: MORE})}).endswith(" solves more where reuse is frequent")
    assert answers.headline({"a": table({SELDOM: MORE, HALF: OPEN})}).endswith(" solves more")


def test_a_gate_that_the_curve_does_not_reach_is_not_spoken_of():
    assert answers.state({"short": table({OFTEN: None})}) is None
    assert " 80 %" not in answers.state({"short": table({OFTEN: None, HALF: MORE})})


def test_both_by_one_clock_are_like_gates_too():
    by_clock = [Setting(mode, "every(2)") for mode in ("prefix", "full")]
    rows = {
        one: [(n < k, 20, [False, True] * 2) for n in range(100)] for one, k in zip(by_clock, (90, 60), strict=True)
    }
    apart = answers.clocks({"short": made(rows), "long": made({by_clock[0]: rows[by_clock[0]]})}, 0.95)
    assert [*apart["short"]] == [tuple(by_clock)] and apart["long"] == {}
    (row,) = answers.differences({}, {}, apart)["points"]
    assert row.startswith("30 (")


@pytest.mark.parametrize(
    ("short", "long", "lead"),
    [
        (FEWER, FEWER, "An image gate does better than a clock that reuses as often"),
        (
            FEWER,
            OPEN,
            "An image gate does better than a clock that reuses as often in `short`; in `long` that is not sh",
        ),
        (OPEN, OPEN, "Image gates are not shown to do better than a clock that reuses as often"),
        (MORE, OPEN, "A clock does better than an image gate that reuses as often"),
        (MORE, FEWER, "Whether an image gate does better than a clock that reuses as often depends on the suite"),
    ],
)
def test_a_clock_is_compared_with_image_gates_of_the_same_mode(short, long, lead):
    claim = answers.moments({"short": table({CLOCK: short}), "long": table({CLOCK: long})})
    assert claim.startswith(f"**{lead}") and "In `long` `prefix` by every(2), at 50 % of replans, solves " in claim
    assert answers.moments({}) is None


@pytest.mark.parametrize("clear", [MORE, FEWER])
def test_of_the_clocks_of_a_suite_the_clearest_is_told(clear):
    seldom, often = Setting("prefix", "every(4, 3)"), CLOCK
    gains = gained({seldom: OPEN, often: clear}).assign(reuse=[0.25, 0.5])
    claim = answers.moments({"short": gains})
    assert "by every(2), at 50 % of replans, solves 20 points" in claim and "every(4, 3)" not in claim


def test_the_table_says_what_each_is_compared_with():
    pair = (Setting("prefix", "every(2)"), Setting("full", "every(2)"))
    gap = table({CLOCK: MORE}).gain[CLOCK]
    rows = answers.differences(
        {"short": table({OFTEN: None, HALF: MORE})}, {"short": table({CLOCK: FEWER})}, {"short": {pair: gap}}
    )
    assert rows["compared with"].to_list() == [
        *("full behind image gates, equal reuse", "prefix behind image gates, equal reuse", "full, same gate")
    ]
    assert rows["points"].to_list() == ["20 (10 to 30)", "-20 (-30 to -10)", "20 (10 to 30)"]
