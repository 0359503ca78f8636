"""What *The February report, re-read* says of made rows: other rows, other ends of its claims."""

import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kvlab.book.answers import amplification, february_table
from kvlab.book.answers import february_claims as claims
from kvlab.book.answers import february_report as answers
from kvlab.book.answers import why_reuse_fails as why
from kvlab.book.answers.february_table import ONCE, Claim
from kvlab.book.answers.second_seed import Choice, SecondSeed
from kvlab.evidence import margins, reported
from kvlab.paths import BOOK
from kvlab.study.settings import parse_setting
from made import TIMES, curves, made

NONE = SecondSeed(())
FEWER, LONGER, KEPT = map(parse_setting, ("none steps=2", "none execute=10", "prefix when pixels >= 0.9"))
SOLVED = {  # of 100, and how many of 20 replans reuse
    **{
        setting: (k, r)
        for setting, k, r in zip(claims.SWEPT, (100, 99, 99, 97, 80, 70, 55, 48, 5, 0), range(1, 20, 2), strict=True)
    },
    claims.WORDS: (40, 19),
    claims.WORDS_NEW: (100, 2),
    **dict.fromkeys(claims.SYNCHRONIZED, (45, 11)),
    claims.LATE_IMAGES: (50, 0),
    claims.LATE_STATE: (30, 0),
    why.late("all", 1): (10, 0),
    why.late("vision", 2): (20, 0),
    why.late("state", 2): (20, 0),
    why.late("all", 2): (0, 0),
}


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    """Bounds are far from where the number of resamples would move a verdict."""
    monkeypatch.setattr(claims.matching, "matched", partial(claims.matching.matched, resamples=300))


def episodes(k: int, reused: int, replans: int = 20) -> list:
    return [(n * 37 % 100 < k, 100, [0 < r <= reused for r in range(replans)]) for n in range(100)]


def judged(changed=(), ten=70, rate=0.001, levers=(), margin=0.1, second=NONE) -> list[Claim]:
    solved = {claims.NO_REUSE: (100, 0), **SOLVED, **dict(changed)}
    long = {claims.NO_REUSE: (75, 0), claims.CLIFF: (ten, 5)}
    records = {
        suite: made({setting: episodes(*found) for setting, found in rows.items()}, suite)
        for suite, rows in ((claims.SPATIAL, solved), (claims.TEN, long))
    }
    tried = {claims.NO_REUSE: (75, 0), **dict(levers)}
    bought = {suite: made({s: episodes(*found) for s, found in tried.items()}, suite) for suite in claims.SETTINGS}
    return claims.claims(records, bought, [*dict(levers)], curves(rate), TIMES, second, margin)


def ends(**changed) -> list[str]:
    return [claim.verdict for claim in judged(**changed)]


def test_ten_claims_end_by_their_rows():
    found = judged()
    assert [claim.verdict for claim in found[:2]] == ["supported", "refuted in part"] and len(found) == 10
    assert [claim.verdict for claim in found[3:8]] == ["refuted"] * 4 + ["not shown"]
    assert found[0].found.startswith("99 of 100, -1 points (-5.4 to 3), at 25 % of replans")
    assert "late state has 30 of 100, late images 50 of 100: -20 points" in found[3].found
    assert found[4].found.startswith("-60 points")


@pytest.mark.parametrize(
    ("number", "changed", "verdict"),
    [
        (1, {claims.SWEET: (60, 3)}, "refuted"),
        (1, {claims.SWEET: (93, 3)}, "not shown"),
        (2, {claims.CLIFF: (20, 12)}, "supported"),
        (2, {claims.SWEPT[6]: (10, 13)}, "supported in part and refuted in part"),
        (2, {claims.SWEPT[6]: (95, 13)}, "refuted"),
        (4, {claims.LATE_STATE: (90, 0)}, "supported"),
        (4, {claims.LATE_STATE: (52, 0)}, "not shown"),
        (5, {claims.WORDS: (99, 19)}, "supported"),
        (6, {why.late("all", 1): (90, 0), why.late("all", 2): (60, 0)}, "supported"),
        (6, {why.late("all", 2): (20, 0)}, "refuted in part"),
        (7, dict.fromkeys(claims.SYNCHRONIZED, (73, 11)), "not shown"),
        (7, dict.fromkeys(claims.SYNCHRONIZED, (95, 11)), "supported"),
        (7, dict.fromkeys(claims.SYNCHRONIZED[:4], (95, 11)), "supported in part and refuted in part"),
        (7, dict.fromkeys(claims.SYNCHRONIZED[:4], (73, 11)), "refuted in part"),
    ],
)
def test_other_rows_end_a_claim_otherwise(number, changed, verdict):
    assert ends(changed=changed)[number - 1] == verdict


@pytest.mark.parametrize(("low", "over"), [(45, "is open"), (10, "is shown"), (95, "is excluded")])
def test_the_cliff_between_shares_has_its_interval_and_what_it_leaves(low, over):
    """Of 99 of 100 at the one share so many are left at the other: over half lost?"""
    said = judged(changed={claims.SWEPT[6]: (low, 13)})[1].found
    assert re.search(rf"99 of 100 to {low} of 100, .\d+ points \([^()]*\): over 50 lost {over}$", said), said
    assert len(re.findall(r"\(.* to .*\)", said)) == 1  # one interval a row
    assert "points between these thresholds: over 50 lost is excluded." in said


@pytest.mark.parametrize(("ten", "verdict"), [(20, "supported"), (75, "refuted"), (71, "not shown")])
def test_whether_a_threshold_carries_over_is_a_difference_of_losses(ten, verdict):
    """In libero_spatial 0.98 loses 30 of 100, in libero_10 all but `ten` of 75."""
    short = {claims.CLIFF: (70, 5)} if verdict == "refuted" else {}
    assert ends(changed=short, ten=ten)[2] == verdict


def test_amplification_follows_the_rate():
    assert [ends(rate=rate)[7] for rate in (0.001, 0.1, -0.1)] == ["not shown", "supported", "refuted"]
    eighth = february_table.table(judged())["ends as"].iloc[7]
    assert eighth == "not shown; more than 1.02 times in the second half is excluded"
    found = "the second half of the steps adds 1.65 times (everything kept) and 1.65 times (images, instruction kept) "
    assert judged(rate=0.1)[7].found == f"{found}what the first half adds: later steps add more."


def test_what_the_steps_add_stands_beside_a_rate_that_does_not_allow_it():
    """A straight line but for the last step, which adds twice as much: the second half adds 1.2 times the first."""
    late = 0.01 * np.array([*range(1, 10), 11])
    rows = pd.DataFrame([late * (1 + 0.001 * n) for n in range(10)], columns=[f"step_{s}" for s in range(1, 11)])
    added = amplification.added_late(rows.assign(mode="prefix", episode=range(10)).pipe(_both_modes))
    assert {mode: round(ratio.estimate, 6) for mode, ratio in added.items()} == {"full": 1.2, "prefix": 1.2}
    flat = claims._no_one_rate(amplification.predictions(curves(0.001)), added)
    assert flat.startswith(
        " One rate for all steps does not fit with everything kept (it gives 0.99 to 1.02 times) and"
    )
    assert flat.endswith(" images, instruction kept (it gives 0.99 to 1.02 times).")
    added["full"] = amplification.added_late(amplification.young(curves(0.001)))["full"]
    one = claims._no_one_rate(amplification.predictions(curves(0.001)), added)
    assert ", and is not ruled out with everything kept (it gives" in one and one.count("images, instruction") == 1
    assert (
        claims._no_one_rate(
            amplification.predictions(curves(0.001)), amplification.added_late(amplification.young(curves(0.001)))
        )
        == ""
    )


def _both_modes(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rows.assign(mode=mode) for mode in ("full", "prefix")])


def test_a_gate_is_safer_only_where_both_counts_say_so():
    """One that fails stands still: it goes on for 20 replans that no reuse did not take, and reuses at each."""
    gate, alike = claims.SYNCHRONIZED[2], dict.fromkeys(claims.SYNCHRONIZED, (95, 11))
    solved = {claims.NO_REUSE: (100, 0), **SOLVED, **alike, gate: (73, 11)}
    rows = {setting: episodes(*found) for setting, found in solved.items()}
    rows[gate] = [(won, steps, reuses + [True] * 20 * (not won)) for won, steps, reuses in rows[gate]]
    records = made(rows, claims.SPATIAL)
    curve = [claims.NO_REUSE, *claims.SWEPT]
    first, second = (
        claims.matching.matched(records, [gate], curve, within)["gain"][gate] for within in (None, claims.NO_REUSE)
    )
    assert first.low > 0 and second.low <= 0 < second.high
    claim = claims._synchronized(records, lambda *_, **__: "", 0.95)
    assert claim.verdict == "not shown" and claim.found.startswith("5 thresholds, compared with the image gate at ")


def test_an_effect_has_one_interval_and_one_said_by_itin_both_chapters():
    """The parameters of the other chapters are those that the claims here are judged by."""
    gates, late = ((BOOK / f"{name}.md").read_text() for name in ("synchronized_gating", "why_reuse_fails"))
    cell = re.search(r":tags: \[parameters\]\n(.*?)```", gates, re.DOTALL)[1]
    exec(cell, of := {})
    assert claims.TOGETHER == len(of["synchronized"][claims.SPATIAL]) + len(of["others"]) + len(of["phases"])
    assert claims.SWEPT == [parse_setting(f"full when vision >= {t}") for t in of["thresholds"][claims.SPATIAL]]
    assert f"lags: list[int] = {[*claims.LAGS]}" in late


@pytest.mark.parametrize(
    ("levers", "fewer", "longer", "found"),
    [
        ({}, "not shown", "not shown", "no other way is recorded in both suites yet"),
        ({FEWER: (75, 0), KEPT: (75, 10)}, ONCE, "not shown", "steps 2 denoising steps, at 55 % of the infer"),
        ({FEWER: (75, 0), LONGER: (75, 0, 10), KEPT: (75, 10)}, ONCE, ONCE, "of reuse images, instr"),
        ({FEWER: (75, 0), LONGER: (65, 0, 10), KEPT: (75, 10)}, ONCE, "not shown", "at 83 %"),
        ({FEWER: (75, 0), LONGER: (10, 0, 10), KEPT: (75, 10)}, ONCE, "refuted", "at 83 %"),
        ({FEWER: (10, 0), LONGER: (10, 0, 10), KEPT: (75, 10)}, "refuted", "refuted", "steps none is shown to; of"),
        ({FEWER: (10, 0), KEPT: (10, 10)}, "not shown", "not shown", "of reuse none is shown to"),
    ],
)
def test_each_way_is_better_where_it_costs_less_at_a_loss_that_is_small(levers, fewer, longer, found):
    """Of 71 ms a computed replan at 2 steps takes 39 and one that keeps the prefix behind thumbnails 46 of 72."""
    *_, steps, chunks = judged(levers=levers)
    assert (steps.verdict, chunks.verdict) == (fewer, longer) and found in steps.found
    assert steps.says == "Reuse is not worth it: fewer denoising steps are the better way."
    assert chunks.says == "Reuse is not worth it: longer chunks are the better way."


@pytest.mark.parametrize(("confirms", "verdict"), [(True, "supported"), (False, ONCE)])
def test_what_a_second_seed_says_stands_beside_a_way_that_is_better(confirms, verdict):
    said_by_it = margins.INSIDE if confirms else margins.UNDECIDED
    second = SimpleNamespace(
        choose=lambda shown: (
            Choice(SimpleNamespace(setting=shown[0], verdict=said_by_it, clause=f"The second says so of `{shown[0]}`."))
            if shown
            else None
        )
    )
    found = judged(levers={FEWER: (75, 0), KEPT: (75, 10)}, second=second)
    both = "; of reuse by the first seed images" in found[8].found and "steps by two seeds 2" in found[8].found
    assert both == confirms and found[8].found.startswith("by the first seed, the cheapest") != confirms
    assert found[9].found.startswith("by the first seed, the cheapest that loses under")
    assert february_table.table(found)["ends as"].iloc[8] == f"{verdict}. The second says so of none steps=2."
    lead, said = answers.findings(found[8:], reported.load())[0].split("** ")
    once = "" if confirms else ", with the first seed alone"
    assert lead.startswith(f"**Of its 2 claims 1 is supported here{once}: number 1, “Reuse is not worth it: fewer")
    assert said.startswith("The second says so of `none steps=2`. Of the others 1 is not shown.")
    two = answers.findings([found[0], found[8]], reported.load())[0]
    assert two.startswith(
        "**Of its 2 claims 2 are supported here: numbers 1 and 2 of the table.** Number 2: The second"
    )


def test_what_would_decide_is_a_number_of_episodes():
    """7 of 100 lost and none won: 3 points from the margin, in an interval of 10.7 points."""
    stays = "episodes, if the effect is what it now seems"
    assert judged(changed={claims.SWEET: (93, 3)})[0].decides == f"about 300 {stays}"
    assert judged(ten=72)[2].decides == f"one policy on both suites, and over 10,000 {stays}"  # 3 lost in either


def test_the_table_says_what_would_decide():
    table = february_table.table(judged())
    assert table.index[0].startswith("1. At a threshold of 0.985") and len(table) == 10
    assert table["ends as"].iloc[1] == "refuted in part"
    assert table["ends as"].iloc[8].startswith("not shown; would be decided by these ways")
    assert [*table.columns][0] == "ends as"
    assert table["ends as"].iloc[2].startswith("not shown; nothing above 9 points is left; would be decided by one")
    assert table.to_html().split("</thead>")[0].count("<tr") == 1


def test_the_findings_count_the_claims_and_read_the_printed_tables():
    found, results = judged(), reported.load()
    first, few, four, latency = answers.findings(found, results)
    counts = pd.Series([claim.verdict for claim in found]).value_counts()
    assert first.startswith(f"**Of its 10 claims 1 is supported here: number 1, “{found[0].says}”** Of the others 4 ")
    said = f"{counts['refuted']} are refuted, 1 is refuted in part and {counts['not shown']} are not shown."
    assert said in first
    both = [*found[:8], Claim("", "", "", "supported"), found[9]]
    assert "claims 2 are supported here: numbers 1 and 9 of the table.**" in answers.findings(both, results)[0]
    ninth = [*found[1:9], Claim("This.", "", "", "supported"), found[9]]
    assert answers.findings(ninth, results)[0].startswith(
        "**Of its 10 claims 1 is supported here: number 9, “This.”** Of the others"
    )
    assert "0 of 3 against 3 of 3, has p = 0.031; corrected as one of 11 comparisons, 0.34." in few
    assert "with 22 %, 66.7 %, 57 % and 9 %" in four and "differ by 48 points" in four
    assert "109 ms for a computed step and 51 ms for a reused one give 17 rows to 1.2 %" in latency
    most = [Claim("", "", "", "refuted")] * 3
    assert answers.findings(most, results)[0].startswith(
        "**Of its 3 claims none is supported here.** Of them 3 are refuted."
    )
    alike = [Claim("", "", "", "supported")] * 3
    for more in ([], most[:1]):
        assert answers.findings([*alike, *more], results)[0].startswith(
            f"**Of its {3 + len(more)} claims 3 are supported here: numbers 1, 2 and 3 of the table.**"
        )


def test_what_the_tables_contradict_is_counted():
    said = answers.disagreements(reported.load())
    assert "At 0.985 the share of reuse is 83 % in one table and 24 % in another." in said
    assert "has at least 9 episodes, not 3" in said and "first row has 57 % and no later one more than 24 %" in said
    assert "Of 11 rows of 100 episodes that have a pilot of 3, 5 differ" in said


def test_the_title_counts_the_controls():
    results = reported.load()
    assert answers.headline(results).startswith("Of 13 rows of 100 episodes none ran without reuse, so none")
    results.loc[results["episodes"] == 100, "mode"] = "none"
    assert answers.headline(results) == "Of 13 rows of 100 episodes 13 ran without reuse, to compare the others with"


def test_every_printed_row_has_an_interval_where_its_episodes_are_known():
    table = answers.rows(reported.load())
    assert len(table) == 34 and (table.interval == "").sum() == 5
    assert table.to_html().split("</thead>")[0].count("<tr") == 1
