"""A robot that stands still during an inference, beside one that goes on."""

import pandas as pd
import pytest

from kvlab.book.answers import standing
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


def test_standing_still_is_compared_with_going_on_where_both_are_recorded(study):
    one, solved = study
    solved |= {("100ms hold", NONE): 15, ("100ms", NONE): 5, ("800ms hold", FEWER): 12}
    table = standing.table({"libero_spatial": one}, (NONE, FEWER), (100, 800), 0.95)
    assert table["stands still"].to_list() == ["15 of 20", "12 of 20"]
    assert table["goes on"].to_list() == ["5 of 20", ""]
    assert table["points"].str.startswith("50 (").to_list() == [True, False]


def test_where_no_chunk_covers_the_delay_there_is_nothing_to_go_on_in(study):
    one, solved = study
    solved |= {("2000ms hold", NONE): 7, ("2000ms", NONE): 9}  # the latter cannot be
    (row,) = standing.table({"libero_spatial": one}, (NONE,), (2000,), 0.95).itertuples()
    assert row[3:] == ("7 of 20", "", "")


def test_nothing_recorded_is_said(study):
    assert standing.table({"libero_spatial": study[0]}, (NONE,), (400,), 0.95).data.startswith("No such episode")
