"""What is said of single image tokens, of made rows and distances: other ones, other verdicts and sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import single_tokens
from kvlab.book.answers.single_tokens import CONTROLS, DISTANCE, NAMES, NO_REUSE, RANDOM, RULE, SUCCESS
from kvlab.evidence import verdicts
from kvlab.study.settings import Setting
from kvlab.study.times import STAGES, Latency
from made import TIMES, made

WAYS = ("tokens:skip", "tokens[1:]:skip", "tokens:splice", "tokens:fuse")
KEPT = pd.DataFrame({f"{way} when pixels >= -1": [2, 10, 15, 40] for way in WAYS}, STAGES).T
MACHINE = Latency("a machine", pd.concat([TIMES.stages, KEPT]))
SETTINGS = [NO_REUSE, *(one for one in NAMES if ":skip" in one.mode)]


def records(rule: int, others: int, settings: list[Setting] = SETTINGS) -> dict:
    solved = {one: others if one in CONTROLS else rule for one in settings} | {NO_REUSE: 90}
    rows = {one: [(n < k, 15, [False, one != NO_REUSE]) for n in range(100)] for one, k in solved.items()}
    return {suite: made(rows, suite) for suite in ("libero_spatial", "libero_10")}


def choices(factor: float) -> pd.DataFrame:
    """Ten episodes; the other rules' answers are `factor` times as far off as the rule's."""
    rows = []
    for setting in (one for one in NAMES if ":skip" in one.mode):
        for n in range(10):
            off = (factor if setting in CONTROLS else 1) * (1 + 0.01 * ((n + len(rows)) % 3))
            rows.append({"mode": setting.mode, "episode": n, "kept": 0.25, "distance": 0.1 * off})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("rule", "others", "factor", "success", "distance"),
    [
        (90, 40, 2.0, "supported", "supported"),
        (90, 90, 1.0, "not shown", "not shown"),
        (40, 90, 0.5, "refuted", "refuted"),
    ],
)
def test_verdicts_follow_the_rows_and_the_distances(rule, others, factor, success, distance):
    rows, measured = records(rule, others), choices(factor)
    explained = single_tokens.explanations(rows, measured)
    assert [verdicts.verdict(explained[name]) for name in (SUCCESS, DISTANCE)] == [success, distance]

    def some(many: int) -> str:
        return f"; none of {many} predictions holds" if others == rule else ""

    time, solves, _, answers, *_ = single_tokens.findings(rows, explained, measured, MACHINE, 0.05)
    assert time.startswith(
        "**Single tokens save time.** With VLA-Cache's rule, which keeps 25 % of the image tokens, a"
    )
    lead = {
        "supported": "Other tokens than those of VLA-Cache's rule lose more episodes in 10 of 10 comparisons, and",
        "not shown": "Which tokens are kept makes no shown difference in success (10 comparisons).**",
        "refuted": "Other tokens than those of VLA-Cache's rule lose more episodes in none of 10 comparisons, and",
    }
    assert solves.startswith(f"**{lead[success]}")
    lost = "the loss, if any, is under 4 points" if rule == 90 else "the loss is over 5 points"
    each = f": in `libero_spatial` {lost}; in `libero_10` {lost}."
    assert solves.endswith(f" VLA-Cache's rule{each} VLA-Cache's rule, as published{each}")
    assert answers.startswith(
        f"**That other tokens answer further off: {distance}{some(5)}.** On 10 recorded episodes of `libero_spatial` "
        "chunks with random tokens kept are"
    )
    assert f"{factor:.1f}" in answers


def test_every_setting_that_differs_from_no_reuse_is_told():
    """Of two settings in two suites, no reuse at 90: one at 88 and one at 40."""
    rows = records(88, 40, [NO_REUSE, RULE, RANDOM])
    said = single_tokens._apart_from_no_reuse(rows)
    assert said.startswith("**2 of 4 settings are shown to solve fewer or more episodes than no reuse.**")
    assert said.count("random tokens solves 50 points fewer than without reuse (") == 2 and "VLA-Cache" not in said
    alike = single_tokens._apart_from_no_reuse(records(90, 90, [NO_REUSE, RULE]))
    assert alike.startswith("**None of 2 settings is shown to solve") and "points" not in alike


@pytest.mark.parametrize(("slow", "lead"), [(1, "save time"), (2, "cost time")])
def test_time_comes_first(slow, lead):
    """Of two replans one keeps tokens. Of 71 ms that takes 66; where images and prefill take twice as long, 91."""
    kept = MACHINE.stages.index.str.startswith("tokens")
    machine = Latency("a machine", MACHINE.stages.mul([slow if one else 1 for one in kept], axis=0))
    rows = records(90, 40)
    first, *_ = single_tokens.findings(
        rows, single_tokens.explanations(rows, choices(1.0)), choices(1.0), machine, 0.05
    )
    assert first.startswith(f"**Single tokens {lead}.**")
    share = "96 %" if slow == 1 else "114 %"
    assert f"takes {share} in `libero_spatial` and {share} in `libero_10` of the inference without reuse" in first


@pytest.mark.parametrize(
    ("settings", "compared", "paragraphs"),
    [([], 0, 1), ([RULE], 0, 6), ([RULE, RANDOM], 2, 6), ([RANDOM], 0, 1), ([*NAMES], 10, 4)],
)
def test_what_is_recorded_is_told_and_the_rest_is_named(settings, compared, paragraphs):
    rows = records(90, 40, [NO_REUSE, *settings])
    explained = single_tokens.explanations(rows, choices(1.0))
    assert len(explained.get(SUCCESS, {})) == compared and len(explained[DISTANCE]) == 5
    said = single_tokens.findings(rows, explained, choices(1.0), MACHINE, 0.05)
    assert len(said) == paragraphs
    assert ("which tokens are kept is not recorded.**" in " ".join(said)) == (settings == [RULE])
    assert len(single_tokens.table(rows, choices(1.0), MACHINE)) == 2 * len(settings)
    if settings == [RULE, RANDOM]:
        assert said[-1].startswith("Not recorded in full in `libero_10`: first in raster order; most static; static, ")


def test_the_table_has_tokens_success_and_inference():
    table = single_tokens.table(records(80, 40), choices(1.0), MACHINE)
    row = table[table["kept"] == "random tokens"].iloc[0]
    assert row["image tokens"] == "25 %" and row["successes"] == "40 of 100"
    assert row["inference of no reuse"] == "96 %"  # one of two replans takes 66 of 71 ms
    assert row["points"].startswith("-50 (")
