"""A robot that stands still during an inference, beside one that goes on."""

import pandas as pd
import pytest

from kvlab.book.answers import standing
from kvlab.study.clock import parse_clock
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from made import made

NONE, FEWER = Setting("none"), Setting("none", denoising_steps=1)


@pytest.fixture
def study(untrained, tmp_path, monkeypatch):
    """A study, and how many of 20 episodes are solved in which world: what is not named there is not recorded."""
    solved = {}

    def of(study):
        return {setting: solved.get((str(study.protocol.real_time), setting)) for setting in study.settings}

    def plan(study):
        return pd.DataFrame({"missing": {str(setting): 20 * (k is None) for setting, k in of(study).items()}})

    def run(study, workers):
        return made({setting: [(n < k, 20, [False]) for n in range(20)] for setting, k in of(study).items()})

    monkeypatch.setattr(Study, "plan", plan)
    monkeypatch.setattr(Study, "run", run)
    return Study(untrained, (NONE,), 20, Protocol(), folder=tmp_path), solved


def compared(study, settings, speeds):
    return standing.outcomes({"libero_spatial": study}, settings, speeds)


def test_standing_still_is_compared_with_going_on_where_both_are_recorded(study):
    one, solved = study
    solved |= {("100ms hold", NONE): 15, ("100ms", NONE): 5, ("800ms hold", FEWER): 12, ("100ms", FEWER): 9}
    table = standing.table(compared(one, (NONE, FEWER), (100, 800)), 0.95)
    assert table["stands still"].to_list() == ["15 of 20", "12 of 20"]
    assert table["goes on"].to_list() == ["5 of 20", ""]
    assert table["points"].str.startswith("50 (").to_list() == [True, False]


def test_what_goes_on_where_no_reuse_cannot_has_its_row_here(study):
    one, solved = study
    solved |= {("400ms", FEWER): 9}
    assert not parse_clock("400ms").covered(NONE, one.policy.config.chunk)
    (row,) = standing.table(compared(one, (NONE, FEWER), (400,)), 0.95).itertuples()
    assert row[3:] == ("", "9 of 20", "")


def test_where_no_chunk_covers_the_delay_there_is_nothing_to_go_on_in(study):
    one, solved = study
    solved |= {("2000ms hold", NONE): 7, ("2000ms", NONE): 9}  # the latter cannot be
    (row,) = standing.table(compared(one, (NONE,), (2000,)), 0.95).itertuples()
    assert row[3:] == ("7 of 20", "", "")


def test_nothing_recorded_is_no_row_and_no_sentence(study):
    found = compared(study[0], (NONE,), (400,))
    assert standing.table(found, 0.95).empty and standing.finding(found, {}, 0.95) == ""


def test_what_stands_still_with_nothing_to_compare_is_no_finding(study):
    one, solved = study
    solved |= {("100ms hold", NONE): 15}
    assert standing.finding(compared(one, (NONE,), (100,)), {}, 0.95) == ""


def found(study, settings, speeds, records=None):
    return standing.finding(compared(study, settings, speeds), records or {}, 0.95)


def test_whether_standing_still_is_better_is_said_of_the_best_of_both(study):
    one, solved = study
    solved |= {("100ms hold", NONE): 15, ("100ms", NONE): 5, ("100ms hold", FEWER): 10, ("100ms", FEWER): 9}
    assert found(one, (NONE, FEWER), (100,)).startswith(
        "**To stand still during an inference solves more in `libero_spatial` at 100 ms**, by the best recorded of "
        "either way, which may be two settings. In `libero_spatial` at 100 ms 15 of 20 are solved standing still (no "
        "reuse). That is 30 points more than going on ("
    )
    solved |= {("200ms hold", NONE): 2, ("200ms", NONE): 3}
    assert found(one, (NONE, FEWER), (100, 200)).endswith(
        " Between the best of both no difference is shown in `libero_spatial` at 200 ms. One and the same setting "
        "solves more standing still in 1 of 3 comparisons, and fewer in none."
    )


def test_standing_still_that_is_worse_and_that_is_not_told_apart(study):
    one, solved = study
    solved |= {("100ms hold", NONE): 5, ("100ms", NONE): 19}
    said = found(one, (NONE,), (100,))
    assert said.startswith("**To stand still during an inference solves fewer in `libero_spatial` at 100 ms**,")
    solved |= {("100ms", NONE): 5}
    assert found(one, (NONE,), (100,)).startswith(
        "**To stand still during an inference is nowhere shown to be better than to go on, or worse**,"
    )


def test_the_best_that_goes_on_may_be_a_lever_that_never_stood_still(study):
    one, solved = study
    solved |= {("100ms hold", NONE): 15, ("100ms", NONE): 5}
    records = {"libero_spatial": {100: made({s: [(n < 15, 20, [False]) for n in range(20)] for s in (FEWER,)})}}
    assert found(one, (NONE,), (100,), records).startswith("**To stand still during an inference is nowhere shown")
    assert found(one, (NONE,), (100,)).startswith("**To stand still during an inference solves more in")
