"""Tables of settings: short names, one header row, one interval."""

import pandas as pd
import pytest

from kvlab.book import tables
from kvlab.evidence import summary
from kvlab.study.settings import Setting
from made import made

NO_REUSE = Setting("none")


def compared(*settings):
    records = made({setting: [(n > 0, 15, [False, True, False])] * 6 for n, setting in enumerate(settings)})
    return summary.compare(records, list(settings), NO_REUSE)


@pytest.mark.parametrize(
    ("setting", "kept", "gate"),
    [
        (NO_REUSE, "nothing", "no reuse"),
        (Setting("none", seeing="black"), "nothing", "no reuse, cameras black"),
        (Setting("full", "vision >= 0.97 & state >= 0.9"), "everything", "images ≥ 0.97, robot state ≥ 0.9"),
        (Setting("full", "vision@previous >= 0.97"), "everything", "images of the replan before ≥ 0.97"),
        (
            Setting("full", "vision >= 0.9 if gripper < 1 and curvature < 0.5 else 0.99"),
            "everything",
            "images ≥ 0.9 or 0.99 by gripper, curvature",
        ),
        (Setting("vision_only:splice", "pixels >= 0.9"), "images (splice)", "thumbnails ≥ 0.9"),
        (Setting("layer_wise[2:]:skip", "every(2)"), "half of the layers ([2:] skip)", "every(2)"),
        (Setting("tokens@previous:fuse", "every(3)"), "image tokens (@previous fuse)", "every(3)"),
    ],
)
def test_a_setting_has_two_short_names(setting, kept, gate):
    assert (tables.kept(setting), tables.gate(setting)) == (kept, gate)


def test_phrases_are_not_cut_short():
    phrase = "a phrase of more letters than pandas shows of a cell by itself"
    assert phrase in tables.prose(pd.DataFrame({"said": [phrase]})).data


def test_what_is_kept_is_a_column_only_where_it_differs():
    one = tables.by_setting(compared(NO_REUSE, Setting("full", "every(2)")))
    assert (one.columns.name, *one.columns) == ("gate", "replans that reuse", "successes", "points")
    assert [*one.index] == ["no reuse", "every(2)"] and one.points["no reuse"] == ""
    both = tables.by_setting(
        table := compared(NO_REUSE, Setting("full", "every(2)"), Setting("prefix", "every(2)")),
        mean_ms=table.reuse,
    )
    assert both.columns.name == "kept" and both.columns[0] == "gate" and both.columns[-1] == "mean ms"
    assert both.to_html().split("</thead>")[0].count("<tr") == 1


def test_rows_have_one_header_row_and_no_row_is_no_table(monkeypatch):
    table = tables.headed([{"setting": "a", "points": 1}, {"setting": "b", "points": 2}])
    assert [*table.index] == ["a", "b"] and table.columns.name == "setting" and table.index.name is None
    shown = []
    monkeypatch.setattr(tables, "display", lambda *what: shown.append(what))
    tables.below("What it says:", tables.headed([]))
    assert shown == []
    tables.below("What it says:", table)
    ((words, html),) = shown
    assert words.data == "What it says:" and html.data.count("<tr") == 3
