"""What *In real time* says of delays, their rounding and another machine's, by times that are easily added."""

import pandas as pd
import pytest

from kvlab.book.answers import delays
from kvlab.book.timeline import Course
from kvlab.study import clock
from kvlab.study.settings import parse_setting
from kvlab.study.times import STAGES, Latency
from made import made

NONE, TWO, ONE, CACHE = map(parse_setting, ("none", "none steps=2", "none steps=1", "prefix when every(2)"))
KEPT = parse_setting("chunk when every(2)")


@pytest.fixture(autouse=True)
def machines(monkeypatch):
    """Denoising is 60 % of an inference on one machine and 40 % on the other, which timed no cache."""
    stages = {
        "cpu": {"none": [0, 10, 30, 60], "prefix when pixels >= -1": [0, 0, 0, 60], "full when pixels >= -1": [0] * 4},
        "h100": {"none": [0, 20, 40, 40]},
    }
    found = {name: Latency(name, pd.DataFrame(each, index=STAGES).T) for name, each in stages.items()}
    monkeypatch.setattr(clock, "_latency", found.__getitem__)


def records(*settings):
    return made({setting: [(True, 20, [False, setting.mode != "none"])] * 2 for setting in settings})


def test_the_other_machines_delays_are_said():
    said = delays.rounding({"short": {0: records(NONE), 100: records(NONE, TWO, ONE), 200: records(NONE)}})
    assert said == (
        "By an H100's shares of the stages the delay would be another in 1 of the 4 rows above 0 ms (column *H100's "
        "delay*); success with it is not recorded."
    )
    said = delays.rounding({"short": {100: records(NONE), 200: records(TWO)}})
    assert said.endswith("the delay would be another in none of the 2 rows above 0 ms.")


def test_rows_are_counted_as_the_tables_have_them():
    both = {suite: {100: records(NONE, ONE)} for suite in ("short", "long")}
    assert "another in 2 of the 4 rows above 0 ms" in delays.rounding(both)


def test_a_delay_is_told_for_both_kinds_of_replan_where_they_differ_and_elsewhere_where_it_is_another():
    one = clock.Clock(100)
    assert [delays.words(one, setting) for setting in (NONE, ONE, KEPT)] == ["2", "1", "2, reused 0"]
    assert [delays.elsewhere(100, setting) for setting in (NONE, ONE, CACHE)] == ["", "2", "not timed"]


def test_the_drawing_has_no_reuse_the_best_and_what_keeps_chunks_once():
    won = {NONE: 1, CACHE: 2, TWO: 3, KEPT: 2}
    there = made({s: [(n < k, 20, [False, s.mode != "none"]) for n in range(4)] for s, k in won.items()})
    assert delays.drawn(there) == [NONE, TWO, KEPT]
    assert delays.drawn(records(NONE)) == [NONE]


def test_time_without_an_action_is_said_setting_by_setting():
    courses = {NONE: Course([0, 0, 1, 1, 0, 2], [(0, 2)]), KEPT: Course([0, 1, 1, 1], [(0, 1)])}
    assert delays.title(courses, 400) == "At 400 ms an inference the robot stands still 25 % of the time with no reuse"
    assert delays.title({KEPT: courses[KEPT]}, 50).endswith("the robot never stands still with chunk kept, every(2)")
