"""What is said of single image tokens, of made rows and distances: other ones, other verdicts and sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import single_tokens
from kvlab.book.answers.single_tokens import CONTROLS, DISTANCE, NAMES, NO_REUSE, RANDOM, RULE, SUCCESS
from kvlab.evidence import verdicts
from kvlab.study.settings import Setting
from kvlab.study.times import STAGES, Latency
from made import TIMES, made

KEPT = pd.DataFrame({f"tokens{start}:skip when pixels >= -1": [2, 10, 15, 40] for start in ("", "[1:]")}, STAGES).T
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
    said = single_tokens.finding(rows, explained, measured, MACHINE, 0.05)
    assert f"better tokens than others is {success} by success and {distance} by the distance of the answers.**" in said
    assert (
        f"It keeps 25 % of the image tokens. In `libero_spatial` {rule} of 100 episodes succeed, and {others} " in said
    )


def test_what_is_not_recorded_is_not_compared():
    rows = records(90, 40, [NO_REUSE, RULE, RANDOM])
    explained = single_tokens.explanations(rows, choices(1.0))
    assert [*explained[SUCCESS]] == [
        f"{suite}: random tokens, compared with VLA-Cache's rule" for suite in ("libero_spatial", "libero_10")
    ]
    assert len(explained[DISTANCE]) == 5
    assert len(single_tokens.table(rows, choices(1.0), MACHINE)) == 4


def test_the_table_has_tokens_success_and_inference():
    table = single_tokens.table(records(80, 40), choices(1.0), MACHINE)
    row = table[table["kept"] == "random tokens"].iloc[0]
    assert row["image tokens"] == "25 %" and row["successes"] == "40 of 100"
    assert row["inference of no reuse"] == "96 %"  # one of two replans takes 66 of 71 ms
    assert row["points"].startswith("-50 (")
