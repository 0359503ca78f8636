"""What *In real time* says of made rows: other rows, other sentences; what is not recorded is left out and said."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from kvlab.book import tables
from kvlab.book.answers import caches, levers, real_time, stake, worlds
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from made import made

NONE, FEWER, CACHE = Setting("none"), Setting("none", denoising_steps=2), parse_setting("prefix when every(2)")
BOTH, ONE = replace(CACHE, denoising_steps=2), Setting("none", denoising_steps=1)


def speed(none, fewer, cache=None, steps=20):
    """So many of 100 episodes are solved without reuse, with 2 denoising steps, and with a cache."""
    won = {NONE: none, FEWER: fewer, CACHE: cache}
    return made(
        {
            s: [(n < k, steps if s == FEWER else 20, [False, s == CACHE]) for n in range(100)]
            for s, k in won.items()
            if k is not None
        }
    )


def said(**suites):
    return real_time.findings(suites, "", 0.95)


def behind(**suites):
    return " ".join(levers.details(suites))


def sooner(**suites):
    return real_time.sooner(suites, 0.95)


def test_what_solves_most_at_every_speed_is_said_of_the_recorded_settings_alone():
    short = {0: speed(99, 99, 94), 200: speed(65, 97, 40, 10), 400: speed(40, 70, 30)}
    delay, winner, cache = said(short=short)
    assert winner.startswith(
        "**Take fewer denoising steps and keep no cache.** In `short` the best is shown to solve more than no reuse at "
        "200 and 400 ms. At 400 ms 2 denoising steps solves 70 of 100. That is 30 points more than without reuse ("
    )
    assert " at 0 ms" not in winner
    assert cache.startswith(
        "**No cache is shown to beat no reuse in any of 2 comparisons.** In 2 it is shown to solve fewer. The nearest "
    )
    assert (
        "The nearest to it is images, instruction kept, every(2), in `short` at 400 ms: 10 points fewer than without "
        "(4 to 19), which solves 40 of 100." in cache
    )
    assert delay.startswith("**The delay alone costs success at 200 and 400 ms an inference.**")
    assert "59 points fewer than in a world that waits" in delay
    assert sooner(short=short) == ("**What solves most also succeeds sooner than no reuse in 1 of 2 comparisons.**")


def test_where_the_delay_costs_in_all_suites_in_some_and_in_none_is_told_apart():
    long = {0: speed(90, 90), 50: speed(90, 90), 100: speed(90, 90), 200: speed(40, 90)}
    short = {0: speed(90, 90), 50: speed(90, 90), 100: speed(40, 90), 200: speed(40, 90)}
    delay, *_ = said(short=short, long=long)
    assert delay.startswith(
        "**The delay alone costs success at 200 ms and 100 ms in some of the suites an inference; at 50 ms that is not "
        "shown.**"
    )
    delay, *_ = said(long=long)
    assert delay.startswith("**The delay alone costs success at 200 ms an inference; at 50 and 100 ms that is not ")


def test_the_row_of_each_recorded_machine_is_named_and_where_another_setting_rounds_apart():
    short = {ms: speed(90, 90) for ms in (0, 50, 100)}
    delay, *_ = said(short=short)
    assert re.search(r"`mini` on two CPU cores takes \d\d ms: a delay of 2 control steps, as at 100 ms\.", delay)
    assert re.search(r"`base` on one H100 takes \d\d ms: a delay of 1 control step, as at 50 ms\.", delay)
    assert stake.rounded({"short": short}) == (
        "On `mini` on two CPU cores 1 of 2 settings has another delay than at 100 ms."
    )
    delay, *_ = said(short={400: speed(90, 90)})
    assert delay.count("control step, not recorded.") == 1 and stake.rounded({"short": {400: speed(9, 9)}}) == ""


def test_no_reuse_beside_itself_in_a_world_that_waits():
    table = stake.table(
        {"short": {0: speed(90, 90), 50: speed(90, 90), 200: speed(60, 90)}, "long": {50: speed(9, 9)}}, 0.95
    )
    assert [*table.index] == ["short", "short"] and table["inference, ms"].to_list() == ["50", "200"]
    assert table["points"].to_list() == ["0 (-4 to 4)", "-30 (-40 to -22)"]


def test_a_lever_that_wins_without_any_delay_is_said_to():
    _, winner, _ = said(short={0: speed(60, 90), 50: speed(60, 90)})
    assert " more is solved with 2 denoising steps in a world that waits, too." in winner
    _, winner, _ = said(short={0: speed(90, 90), 50: speed(60, 90)})
    assert "world that waits" not in winner


def test_a_cache_may_win_on_slow_machines_and_the_range_is_said():
    _, winner, cache = said(short={0: speed(99, 99, 80), 200: speed(65, 90, 60), 400: speed(30, 50, 90)})
    assert winner.startswith("**Which of the recorded settings solves most depends on the speed.**")
    assert cache.startswith(
        "**A cache of keys and values beats no reuse in 1 of 2 comparisons.** In none it is shown to solve fewer."
    )
    assert "is shown to solve more than without at 400 ms, and fewer at 0 ms." in cache
    assert "begins between 0 and 400 ms" in cache


def test_what_is_not_there_is_not_compared():
    suites = {"short": {200: speed(80, 80)}, "long": {100: speed(90, 70)}}
    delay, winner, cache = said(**suites)
    assert "no reuse solved most of the few settings recorded at each speed" in winner and "points" not in winner
    assert cache.startswith("**No cache is recorded in real time.**")
    assert delay.startswith("**What the delay alone costs is open.**")
    assert sooner(**suites).startswith("Time to success is not compared.")


def test_a_delay_that_does_no_harm_and_a_winner_that_is_sooner():
    short = {0: speed(80, 80), 50: speed(80, 90, steps=10)}
    delay, *_ = said(short=short)
    assert delay.startswith("**The delay alone is not shown to cost success at any recorded speed.**")
    assert sooner(short=short) == "**What solves most also succeeds sooner than no reuse in 1 of 1 comparison.**"
    steps = sooner(short={50: speed(80, 90)})
    assert steps == "**What solves most is nowhere shown to succeed sooner than no reuse (1 comparison).**"


def test_a_cache_is_compared_with_as_many_denoising_steps():
    rows = {NONE: 10, FEWER: 90, BOTH: 50}
    records = made({s: [(n < k, 20, [False, s.mode != "none"]) for n in range(100)] for s, k in rows.items()})
    (row,) = caches.ranges({"short": {400: records}}, 0.95).itertuples(index=False)
    assert row[1:4] == ("400", "50 of 100", "90 of 100") and row[4].startswith("-40 (")


def test_tables_and_title_follow_the_rows():
    speeds = {0: speed(99, 99, 94), 200: speed(65, 97, 40)}
    table = real_time.table(speeds, 0.95)
    assert table.loc["no reuse", "points"].to_list() == ["", ""]
    assert table.loc["2 denoising steps", "delay"].to_list() == ["0", "3"]
    assert table.loc[tables.lever(CACHE), "delay"].to_list() == ["0", "4, reused 3"]
    assert table.loc[tables.lever(CACHE), "points"].str.startswith("-25 (").to_list() == [False, True]
    assert table.loc["2 denoising steps", "H100's delay"].to_list() == ["", ""]
    slow = real_time.table({400: speed(9, 9, 4)}, 0.95)
    assert slow["delay"].to_list() == ["8", "5", "8, reused 6"]
    assert slow["H100's delay"].to_list() == ["", "6", "8, reused 5"]
    assert real_time.headline({"short": speeds}) == ("short at 200 ms: no reuse 65 of 100, best lever 97 of 100")
    assert real_time.headline({"short": speeds, "long": {100: speed(97, 65)}}).endswith(
        "97 of 100; long at 100 ms: no reuse 97 of 100, the most"
    )
    steps = real_time.steps_table({"short": speeds}, 0.95)
    assert steps.loc["2 denoising steps", "both solve"].to_list() == [99, 65]
    few = real_time.steps_table({"short": {200: speed(real_time.FEWEST, 97, real_time.FEWEST - 1)}}, 0.95)
    assert few["control steps"].to_list() == ["1.00 (1.00 to 1.00)", "too few to compare"]


@pytest.fixture
def wanted(untrained, tmp_path, monkeypatch):
    """Studies of two speeds, and what is said to be recorded of them: {ms: {setting: episodes}}."""
    there = {}

    def plan(study):
        have = there.get(study.protocol.real_time.full_ms, {})
        counts = [have.get(setting, 0) for setting in study.settings]
        missing = [study.episodes - count for count in counts]
        return pd.DataFrame({"recorded": counts, "missing": missing}, list(map(str, study.settings)))

    monkeypatch.setattr(Study, "plan", plan)
    settings = (NONE, ONE, CACHE)
    studies = {ms: Study(untrained, settings, 20, Protocol(real_time=f"{ms}ms"), folder=tmp_path) for ms in (0, 200)}
    return {"libero_spatial": studies}, there


def test_settings_that_are_not_recorded_are_left_out_and_said(wanted):
    studies, there = wanted
    there |= {0: dict.fromkeys((NONE, ONE, CACHE), 20), 200: {NONE: 20, ONE: 20}}
    found = worlds.recorded(studies)["libero_spatial"]
    assert {ms: study.settings for ms, study in found.items()} == {0: (NONE, ONE), 200: (NONE, ONE)}
    (text,) = worlds.left_out(studies)
    assert worlds.planned(studies, worlds.recorded(studies), run=False, workers=2) == (
        "Of 120 episodes the next cell reads 80: those of settings that are recorded above 0 ms. "
        "The end of the page lists those that are not."
    )
    assert text.splitlines()[2:] == ["- `libero_spatial` at 200 ms: `prefix when every(2)` (0 of 20 episodes)."]


def test_a_speed_under_way_names_no_winner(wanted):
    studies, there = wanted
    there |= {0: dict.fromkeys((NONE, ONE, CACHE), 20), 200: {NONE: 20, ONE: 20, CACHE: 3}}
    with pytest.raises(ValueError, match="no speed above 0 ms is recorded in full"):
        worlds.recorded(studies)
    assert "at 200 ms: every setting (43 of 60 episodes)." in worlds.left_out(studies)[0]


def test_another_clock_leaves_the_rest_of_the_study(wanted):
    study = wanted[0]["libero_spatial"][0]
    assert str(worlds.at(study, "200ms hold").protocol.real_time) == "200ms hold"
    assert worlds.at(study, "0ms").settings == study.settings


def test_a_kept_chunk_that_wins_is_named_beside_the_caches():
    kept = parse_setting("chunk when every(2)")
    won = {NONE: 40, CACHE: 40, kept: 70}
    records = made({s: [(n < k, 20, [False, s.mode != "none"]) for n in range(100)] for s, k in won.items()})
    *_, cache = said(short={400: records})
    assert cache.endswith(
        " A kept chunk, which is no cache, is shown to solve more in 1 of 1 comparison and fewer in none."
    )


def test_a_kept_chunk_is_compared_with_as_many_denoising_steps():
    kept = parse_setting("chunk when every(2) steps=2")
    won = {NONE: 40, FEWER: 70, CACHE: 40, kept: 70}
    records = made({s: [(n < k, 20, [False, s.mode != "none"]) for n in range(100)] for s, k in won.items()})
    assert "A kept chunk" not in said(short={400: records})[2]


def test_a_cache_of_both_suites_is_counted_once_and_every_comparison_of_it():
    *_, cache = said(short={400: speed(40, 50, 20)}, long={400: speed(8, 50, 9)})
    assert cache.startswith(
        "**No cache is shown to beat no reuse in any of 2 comparisons.** In 1 it is shown to solve fewer. The nearest"
    )
    assert "in `long` at 400 ms: 1 point more than without (" in cache and ", which solves 8 of 100." in cache


def test_control_steps_of_a_handful_of_shared_episodes_are_not_compared():
    assert sooner(short={400: speed(5, 70, steps=10)}).startswith("Time to success is not compared.")
    steps = sooner(short={400: speed(5, 70, steps=10)}, long={400: speed(40, 70, steps=10)})
    assert steps == "**What solves most also succeeds sooner than no reuse in 1 of 1 comparison.**"


def fewest(one, two, none=10, cache=None):
    won = {NONE: none, FEWER: two, ONE: one, CACHE: cache}
    return made({s: [(n < k, 20, [False, s == CACHE]) for n in range(100)] for s, k in won.items() if k is not None})


def test_settings_that_solve_as_many_share_the_lead():
    equal = fewest(30, 30)
    _, winner, _ = said(short={200: fewest(40, 42), 400: fewest(12, 90)}, long={50: equal, 100: equal})
    assert winner.startswith("**Take fewer denoising steps and keep no cache.**")
    assert "At 400 ms 2 denoising steps solves 90 of 100. That is 80 points more than without reuse (" in winner
    assert "At 100 ms 2 denoising steps or 1 denoising step solves 30 of 100. That is 20 points more than" in winner
    short = {200: speed(10, 12), 400: fewest(30, 90)}
    assert "is shown to solve more than no reuse at 400 ms, not at 200 ms." in said(short=short)[1]


def test_what_ran_in_another_suite_or_at_another_speed_and_not_here_is_said():
    told = behind(short={100: fewest(30, 20), 200: fewest(30, 20)}, long={200: speed(10, 40)})
    assert told.startswith("Not run in `long`: any setting at 100 ms; 1 denoising step at 200 ms.")
    assert told.count("Not run ") == 1
    assert behind(short={100: speed(10, 40), 200: fewest(30, 20)}).startswith(
        "Not run in `short`: 1 denoising step at 100 ms."
    )


def test_fewer_steps_that_are_nowhere_shown_to_be_better_are_not_to_be_taken():
    _, winner, _ = said(short={200: speed(40, 42)})
    assert winner.startswith(
        "**Above 0 ms, 2 denoising steps solved most of the few settings recorded at each speed.**"
    )


def test_a_cache_among_the_best_makes_it_depend_on_the_speed_where_that_is_shown():
    _, winner, _ = said(short={200: speed(10, 40, 70), 400: fewest(30, 28)})
    assert winner.startswith("**Which of the recorded settings solves most depends on the speed.**")
    _, winner, _ = said(short={200: speed(10, 10, 11), 400: fewest(30, 28)})
    assert winner.startswith("**At different speeds different settings solved most, and none is shown to be the best.")


def test_what_is_said_of_standing_still_is_the_last_and_left_out_where_nothing_is():
    records = {"short": {400: speed(8, 50)}}
    assert real_time.findings(records, "STILL", 0.95)[3] == "STILL" and len(said(**records)) == 3


def test_no_cache_no_table():
    assert caches.ranges({"short": {400: speed(8, 50)}}, 0.95).empty


def test_a_cache_without_what_it_is_compared_with_at_any_speed_is_not_compared():
    both = made({s: [(n < 9, 20, [False, s == BOTH]) for n in range(100)] for s in (NONE, BOTH)})
    records = {"short": {0: fewest(9, 9), 400: both}}
    assert real_time.findings(records, "", 0.95)[2].startswith("**No cache is recorded in real time.**")
    assert caches.ranges(records, 0.95).empty


def test_no_sentence_has_more_than_five_numbers_whatever_solves_most():
    ten = replace(FEWER, execute="10")
    both = made({s: [(n < k, 20, [False]) for n in range(100)] for s, k in {NONE: 30, ONE: 40, ten: 60}.items()})
    four = {ms: both for ms in (50, 100, 200)} | {400: fewest(31, 33, cache=20)}
    suites = {"short": {0: speed(99, 99, 94)} | four, "long": {0: fewest(80, 90), 200: both, 400: both}}
    claims = [*said(**suites), behind(**suites), sooner(**suites)]
    sentences = re.split(r"[.!?:;]\**\s+", re.sub("`[^`]*`", "", " ".join(claims)))
    assert [one for one in sentences if len(re.findall(r"\d[\d,.]*", one)) > 5] == []
