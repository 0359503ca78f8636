"""Two settings at several speeds of a machine: who wins where, with intervals that hold together."""

import pytest

from kvlab.evidence.speeds import by_speed
from kvlab.study.settings import Setting, parse_setting
from made import made

NONE, CACHE = Setting("none"), parse_setting("prefix when every(2)")


def at(none: int, cache: int):
    return made({s: [(n < won, 20, [False]) for n in range(100)] for s, won in ((NONE, none), (CACHE, cache))})


def test_the_cache_wins_where_its_whole_interval_is_above_nothing():
    table = by_speed({400.0: at(60, 90), 0.0: at(100, 94), 200.0: at(90, 92)}, CACHE, NONE)
    assert table.index.tolist() == [0, 200, 400] and table["wins"].tolist() == [False, False, True]
    assert table["k"].tolist() == [94, 92, 90] and table["other_k"].tolist() == [100, 90, 60]
    assert table["difference"][400.0].estimate == pytest.approx(0.3)
    assert table["difference"][400.0].confidence == pytest.approx(1 - 0.05 / 3)


def test_no_speed_is_no_table():
    with pytest.raises(ValueError, match="no speed is named"):
        by_speed({}, CACHE, NONE)
