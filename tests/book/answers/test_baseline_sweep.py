"""What *Baseline sweep* says of made rows: other rows, other sentences."""

import pytest

from kvlab.book.answers import baseline_sweep, pilot
from kvlab.evidence import summary
from kvlab.study.records import collect
from kvlab.study.settings import Setting

NO_REUSE, STRICT, LOOSE = Setting("none"), Setting("full", "vision >= 0.98"), Setting("full", "vision >= 0.9")


@pytest.fixture
def compared(make_row):
    """`compared(no_reuse, strict, loose)`: the table of a study with so many successes each, out of `episodes`."""

    def make(*successes, episodes=100):
        rows = []
        for setting, k in zip((NO_REUSE, STRICT, LOOSE), successes, strict=True):
            for n in range(episodes):
                row = make_row(n % 10, n // 10, (setting.mode, setting.gate, setting.seeing))
                rows.append(row | {"success": n < k, "reused": row["reused"] * (1 + (setting == LOOSE))})
        return summary.compare(collect(rows), [NO_REUSE, STRICT, LOOSE], NO_REUSE)

    return make


def said(*tables, margin=0.1) -> list[str]:
    return baseline_sweep.findings(dict(zip(("short", "long"), tables, strict=False)), margin, 60.0, 40.0)


def test_a_strict_gate_that_loses_nothing_is_safe(compared):
    safe, often, time = said(compared(100, 97, 5))
    assert safe == (
        "**`short`: reuse is safe when it is rare.** The loosest threshold that is shown to be safe (images ≥ 0.98) "
        "allows reuse at 33 % of replans. There 97 of 100 episodes succeed, 3 points fewer than without reuse "
        "(8 fewer to 1 more). So the loss, if any, is under 10 points."
    )
    assert often.startswith("**Frequent reuse costs nearly everything.**") and "5 of 100 episodes" in often
    assert time.startswith("**It saves 11 % of the inference time there.**") and "53 ms in place of 60 ms" in time


def test_a_smaller_margin_leaves_it_undecided(compared):
    safe = said(compared(100, 97, 5), margin=0.05)[0]
    assert safe.startswith("**`short`: no threshold is shown to be safe.** Even the strictest (images ≥ 0.98)")
    assert safe.endswith("Whether it loses 5 points is not decided.")


@pytest.mark.parametrize(
    ("loose", "lead"),
    [(45, "most of the success"), (80, "part of the success"), (100, "nothing that shows")],
)
def test_what_frequent_reuse_costs_follows_the_rows(compared, loose, lead):
    assert said(compared(100, 100, loose))[1].startswith(f"**Frequent reuse costs {lead}.**")


def test_each_suite_has_its_own_finding(compared):
    assert [claim.split(":")[0] for claim in said(compared(100, 97, 5), compared(70, 70, 0))[:2]] == [
        "**`short`",
        "**`long`",
    ]


def test_a_policy_that_never_succeeds_loses_nothing(compared):
    assert said(compared(0, 0, 0))[1].startswith("**Frequent reuse costs nothing that shows.**")


def test_the_title_names_the_suites_that_fall(compared):
    falls, stays = compared(100, 97, 5), compared(100, 100, 99)
    assert baseline_sweep.headline({"short": stays}).startswith("No loss of success can be told from chance")
    assert baseline_sweep.headline({"short": falls}).endswith("the fewer episodes succeed")
    assert baseline_sweep.headline({"short": falls, "long": stays}).endswith("the fewer episodes succeed in short")


def test_three_episodes_look_perfect_and_are_not_known(compared):
    few, many = compared(3, 3, 2, episodes=3), compared(100, 97, 5)
    text = pilot.three_or_hundred(few, many)
    assert text.startswith("By the first 3 episodes alone, 2 of 3 settings look perfect.")
    assert "no width at all for 3 of 3 settings" in text and "After 100 episodes" in text
