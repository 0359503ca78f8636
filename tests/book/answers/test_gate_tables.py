"""The tables of made comparisons of gates."""

from kvlab.book.answers import gate_tables
from kvlab.study.settings import Setting
from made import gained, made

BOTH, STATE, CLOCK, SMALL, BEFORE, IMAGES = (
    Setting("full", gate)
    for gate in (
        *("vision >= 0.9 & state >= 0.9", "state >= 0.9", "every(2)", "pixels >= 0.9"),
        *("vision@previous >= 0.9", "vision >= 0.9"),
    )
)
ALIKE, NEAR, LOSS, GAIN = (0, -0.2, 0.15), (0.01, -0.05, 0.06), (-0.2, -0.3, -0.1), (0.2, 0.1, 0.3)


def episodes(k, reused):
    return [(n < k, 20, [0 < r <= reused for r in range(4)]) for n in range(100)]


def test_every_gate_has_a_row():
    tables = {"short": gained({STATE: ALIKE, SMALL: None}), "long": gained({BOTH: NEAR})}
    records = {"short": made({STATE: episodes(7, 1), SMALL: episodes(8, 1)}), "long": made({BOTH: episodes(9, 1)})}
    rows = gate_tables.gates(tables, records)
    assert rows.successes.to_list() == ["7 of 100", "8 of 100", "9 of 100"]
    assert rows["points at equal reuse"].to_list() == ["0 (-20 to 15)", "no image gate reuses so often", "1 (-5 to 6)"]


def test_every_gate_stands_in_the_second_count_with_what_both_show():
    every, within = gained({CLOCK: ALIKE, SMALL: LOSS, STATE: ALIKE}), gained({CLOCK: GAIN, SMALL: None, STATE: NEAR})
    table = gate_tables.counted({"short": every}, {"short": within})
    assert table.gate.to_list() == ["every(2)", "thumbnails ≥ 0.9", "robot state ≥ 0.9"]
    assert table["points at equal reuse"].to_list() == ["20 (10 to 30)", "no image gate reuses so often", "1 (-5 to 6)"]
    assert table["in both counts"].to_list() == [
        *("better over needed replans only", "worse over all replans only", "open")
    ]


def test_a_gate_on_the_replan_before_stands_below_its_like():
    records = made({IMAGES: episodes(50, 1), BEFORE: episodes(9, 3)})
    records.replans["vision_anchor"], records.replans["state_anchor"] = 0.95, 0.5
    records.replans["age"] = records.replans.replan
    table = gate_tables.references(records, [STATE, BEFORE])
    assert [*table.index] == ["images ≥ 0.9", "images of the replan before ≥ 0.9"]
    assert table["mean age, replans"].to_list() == ["1.0", "2.0"] and table["oldest"].to_list() == ["1", "3"]
    assert gate_tables.references(records, [STATE]).empty
