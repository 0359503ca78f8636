"""The report's tables: nothing lost or changed on the way into CSV, and every breach of the schema named."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence import reported

# Heading of a printed column -> column of the CSV.
HEADINGS = {
    "阈值": "threshold_printed",
    "精度": "success_printed",
    "延迟": "latency_printed",
    "Hz": "hz_printed",
    "复用率": "reuse_printed",
    "加速比": "speedup_printed",
    "模式": "mode_printed",
    "任务级表现": "note_printed",
    "状态": "note_printed",
    "信息类型": "information_printed",
    "真正特性": "property_printed",
    "复用策略": "policy_printed",
    "文件": "file_printed",
    "用途": "use_printed",
}
RESULTS_TEXT = (reported.REPORTED / "results.csv").read_text()


def printed_tables():
    """The tables of the verbatim excerpt: for each its headings and its rows of cells."""
    lines = (reported.REPORTED / "tables.zh.md").read_text().splitlines()
    for is_table, group in itertools.groupby(lines, key=lambda line: line.startswith("|")):
        if is_table:
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in group]
            yield [HEADINGS[name] for name in head], rows


def test_every_printed_row_is_there_as_printed():
    results = reported.load()
    tables = [rows for _, rows in results.groupby("table", sort=False)]
    tables += [reported.load("conclusions"), reported.load("files")]
    printed = list(printed_tables())
    assert len(tables) == len(printed) == 9
    for frame, (columns, rows) in zip(tables, printed, strict=True):
        assert frame[columns].to_numpy().tolist() == rows
        assert frame["row"].tolist() == list(range(1, len(rows) + 1))


def test_columns_that_a_table_does_not_have_are_blank():
    results = reported.load()
    for (_, frame), (columns, _) in zip(results.groupby("table", sort=False), printed_tables(), strict=False):
        absent = set(reported.NUMBERS) - set(columns)
        assert (frame[sorted(absent)] == "").all(axis=None)


def test_numbers_of_some_rows_as_read_by_eye():
    results = reported.load().set_index(["table", "row"])
    full = results.loc[("modality_100", 1)]
    assert (full.success, full.latency_ms, full.hz, full.reuse_rate) == (0.57, 56.6, 17.7, 0.895)
    assert (full.successes, full.episodes, full.suite, full.gate) == (57, 100, "libero_spatial", "vision >= 0.98")
    assert results.loc[("baseline", 5), ["success", "speedup"]].tolist() == [0.22, 1.46]
    assert results.loc[("synchronized_3", 4), "gate"] == "vision >= 0.97 & state >= 0.97"
    assert len(results) == 34


def test_approximations_and_blanks_are_kept_as_such():
    results = reported.load()
    assert (results.reuse_is == "approximate").sum() == 7
    assert results[results.reuse_is == "approximate"].reuse_rate.eq(0.9).all()
    last = results.iloc[-1]
    assert last.latency_printed == "-" and np.isnan(last.latency_ms)
    assert results.episodes.isna().sum() == 5


def test_thresholds_printed_in_headings():
    text = (reported.REPORTED / "tables.zh.md").read_text()
    in_headings = [float(t) for t in re.findall(r"^#### @ threshold=([\d.]+)", text, re.M)]
    rows = reported.load().query("experiment == 'modality'").groupby("table", sort=False).threshold
    assert rows.nunique().eq(1).all()
    assert rows.first().tolist() == in_headings


@pytest.mark.parametrize(
    "printed, number",
    [("**57.0%**", 0.57), ("~90%", 0.9), ("94.6ms", 94.6), ("1.02x", 1.02), ("1.0 (无复用)", 1.0), ("66.7%", 0.667)],
)
def test_printed_number(printed, number):
    assert reported.printed_number(printed) == number


@pytest.mark.parametrize("printed", ["", "-"])
def test_nothing_printed_is_missing(printed):
    assert np.isnan(reported.printed_number(printed))


def test_counts_that_print():
    assert reported.counts_that_print("22%", 3) == []
    assert reported.counts_that_print("22%", 9) == [2]
    assert reported.counts_that_print("66.7%", 3) == [2]
    assert reported.counts_that_print("57.0%", 100) == [57]
    assert reported.counts_that_print("10%", 200) == [19, 20, 21]


def test_small_comparisons_are_those_of_the_tables():
    table = reported.small_comparisons(reported.load())
    assert len(table) == 4 + 4 + 3
    assert table.loc["vision_only against full at 0.985", "counts"] == "0 of 3, 3 of 3"
    assert table.loc["synchronized against baseline at 0.98", "counts"] == "3 of 3, 2 of 3"
    # 3 of 3 against 0 of 3: 2 (1/2)^6 by Boschloo, 2 / 20 by Fisher; four of the kind lead Holm's family of eleven.
    best = table[table.counts == "0 of 3, 3 of 3"]
    assert len(best) == 4
    assert best[["p_boschloo", "p_fisher", "p_holm"]].iloc[0].tolist() == pytest.approx([1 / 32, 0.1, 11 / 32])
    assert table.better["synchronized against baseline at 0.985"] == pytest.approx(0.5, abs=1e-3)


def test_pilot_checks_match_the_same_configuration():
    table = reported.pilot_checks(reported.load())
    assert len(table) == 5 + 6
    assert table.full_run.loc["modality"].tolist() == ["57 of 100", "10 of 100", "24 of 100", "11 of 100", "10 of 100"]
    assert table.full_run["synchronized", "baseline 0.985"] == "12 of 100"
    # All three of a pilot good, out of 12 good in 100.
    assert table.p_drawn["synchronized", "baseline 0.985"] == pytest.approx(12 * 11 * 10 / (100 * 99 * 98))


def test_latency_model_recovers_its_constants():
    reuse = np.array([0.0, 0.2, 0.5, 0.9])
    truth = reported.LatencyModel(full_ms=110.0, reuse_ms=50.0)
    fitted = reported.fit_latency(pd.DataFrame({"reuse_rate": reuse, "latency_ms": truth.predict(reuse)}))
    assert (fitted.full_ms, fitted.reuse_ms) == pytest.approx((110.0, 50.0))


@pytest.mark.parametrize(
    "old, new, message",
    [
        (",0.22,", ",1.22,", r"line 6 has success '1.22', which breaks in_range\(0, 1\)"),
        (",0.22,", ",abc,", "line 6 has success 'abc', which breaks coerce_dtype"),
        (",0.22,", ",,", "line 6 has success 'nan', which breaks not_nullable"),
        (",0.22,", ",0.23,", "line 6 has success 0.23, but '22%' is printed"),
        ("22%", "22 %", "line 6 has success_printed '22 %', which breaks"),
        ("~90%", "90%", "calls the reuse rate approximate, but '90%' is printed"),
        ("baseline,2,", "baseline,1,", "row 1 of table 'baseline' is given more than once"),
        (",3,said", ",2.5,said", "line 7 has episodes '2.5'"),
        (
            ",3,said",
            ",4,said",
            r"row 1 of table 'modality_3_at_0.98' has success \*\*66.7%\*\*, which is no whole number",
        ),
        (",3,said", ",-3,said", r"line 7 has episodes '-3', which breaks greater_than\(0\)"),
        ("libero_10,modality", "libero_99,modality", r"line 34 has suite 'libero_99', which breaks isin"),
        ("vision >= 0.995", "vision > 0.995", "line 3 has gate 'vision > 0.995'"),
        ("suite", "suit", "column 'suit' is not known"),
    ],
)
def test_rows_that_break_the_schema_are_named(tmp_path, old, new, message):
    text = RESULTS_TEXT.replace(old, new, 1)
    assert text != RESULTS_TEXT
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        reported.load(folder=tmp_path)


def test_missing_column_is_named(tmp_path):
    pd.read_csv(reported.REPORTED / "results.csv").drop(columns="hz").to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(ValueError, match="column 'hz' is missing"):
        reported.load(folder=tmp_path)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: reported.load("cliffs"), "table = 'cliffs' is not known; choose one of results, conclusions, files"),
        (lambda: reported.load(folder=reported.REPORTED / "none"), "does not exist"),
        (lambda: reported.printed_number("about 9"), "'about 9' is not a number as the report prints them"),
        (lambda: reported.counts_that_print("94.6ms", 3), "'94.6ms' is not a percentage"),
        (lambda: reported.fit_latency(reported.load()), "without reuse rate or latency"),
        (
            lambda: reported.fit_latency(pd.DataFrame({"reuse_rate": [0.9, 0.9], "latency_ms": [56.0, 57.0]})),
            "1 different reuse rates do not determine two constants",
        ),
    ],
)
def test_bad_input_names_the_value_and_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()
