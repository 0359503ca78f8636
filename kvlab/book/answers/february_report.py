"""What *The February report, re-read* says: how its claims end, and what its printed tables can carry."""

from collections.abc import Sequence

import pandas as pd

from kvlab.book import text
from kvlab.book.answers.february_claims import TEN
from kvlab.book.answers.february_table import ONCE, Claim
from kvlab.evidence import reported, verdicts
from kvlab.evidence.stats import rate_interval, unpaired_difference


def headline(results: pd.DataFrame) -> str:
    """The title of the figure of printed rates."""
    hundred = results[results["episodes"] == 100]
    controls = int((hundred["mode"] == "none").sum())
    so = "so none of them shows a loss" if not controls else "to compare the others with"
    return f"Of {text.count(len(hundred), 'row')} of 100 episodes {controls or 'none'} ran without reuse, {so}"


def findings(found: Sequence[Claim], results: pd.DataFrame, confidence: float = 0.95) -> list[str]:
    """The chapter's answer: how the claims end, and what the printed tables can carry. `results`: `reported.load`."""
    return [_ends(found), _few(results), _four_answers(results, confidence), _latencies(results)]


def disagreements(results: pd.DataFrame) -> str:
    """Where the report's tables contradict each other, besides the one setting that stands in the findings."""
    exact = results[
        (results["mode"] == "full") & (results["name"] != "synchronized") & (results["reuse_is"] == "exact")
    ]
    shares = 100 * exact[exact["threshold"] == 0.985].groupby("table", sort=False)["reuse_rate"].first()
    fitting = min(n for n in range(1, 41) if reported.counts_that_print("22%", n))
    first, later = _first_and_later(results)
    checks = reported.pilot_checks(results)[["p_drawn", "p_predicted"]].min(axis=1)
    off = int((checks < 0.05).sum())
    return (
        f"At 0.985 the share of reuse is {shares.max():.0f} % in one table and {shares.min():.0f} % in another. A "
        f"success of 22 % is no number of thirds: that table has at least {fitting} episodes, not 3. In both tables of "
        f"100 episodes on one suite the first row has {first} % and no later one more than {later} %, whatever was "
        f"varied. Of {len(checks)} rows of 100 episodes that have a pilot of 3, {off} differ from it by more "
        f"than chance."
    )


def _first_and_later(results: pd.DataFrame) -> tuple[int, int]:
    groups = [results[results["table"] == name]["successes"] for name in ("modality_100", "synchronized_100")]
    return int(min(g.iloc[0] for g in groups)), int(max(g.iloc[1:].max() for g in groups))


def _ends(found: Sequence[Claim]) -> str:
    """How many claims hold and which, in their words where it is one; then how the others end."""
    ends = [claim.verdict for claim in found]
    held = [number for number, word in enumerate(ends, 1) if word in (verdicts.SUPPORTED, ONCE)]
    once = ", with the first seed alone" if held and all(ends[number - 1] == ONCE for number in held) else ""
    again = [f" {f'Number {n}: ' * (len(held) > 1)}{found[n - 1].again}" for n in held if found[n - 1].again]
    which = f": number {held[0]}, “{found[held[0] - 1].says}”" if len(held) == 1 else "."
    which = f": numbers {text.listed(list(map(str, held)))} of the table." if len(held) > 1 else which
    others = (verdicts.REFUTED, verdicts.IN_PART, verdicts.MIXED, verdicts.NOT_SHOWN)
    counts = [f"{ends.count(word)} {'are' if ends.count(word) > 1 else 'is'} {word}" for word in others if word in ends]
    said = f" Of {'the others' if held else 'them'} {text.listed(counts)}." if counts else ""
    return (
        f"**Of its {text.count(len(found), 'claim')} {len(held) or 'none'} {'are' if len(held) > 1 else 'is'} "
        f"supported here{once}{which}**{''.join(again)}{said} They were held against recordings of two small "
        "policies, not of the report's own."
    )


def _few(results: pd.DataFrame) -> str:
    family = reported.small_comparisons(results)
    sharpest = family["counts"].iloc[family["p_boschloo"].argmin()].replace(",", " against")
    hundred = results[results["episodes"] == 100]
    controls = (hundred["mode"] == "none").sum()
    return (
        f"**Its tables could not decide.** The sharpest contrast of its small tables, {sharpest}, has "
        f"p = {family['p_boschloo'].min():.3f}; corrected as one of {text.count(len(family), 'comparison')}, "
        f"{family['p_holm'].min():.2f}. Of {text.count(len(hundred), 'row')} with 100 episodes {controls or 'none'} "
        f"ran without reuse. So no loss there can be charged to reuse."
    )


def _four_answers(results: pd.DataFrame, confidence: float) -> str:
    same = results[(results["gate"] == "vision >= 0.98") & (results["mode"] == "full") & (results["suite"] != TEN)]
    rates = [f"{100 * rate:.3g} %" for rate in same["success"].unique()]
    good, bad = sorted(same[same["episodes"] == 100]["successes"], reverse=True)
    apart = unpaired_difference(good, 100, bad, 100, confidence)
    return (
        f"**One setting has {len(rates)} answers.** Keeping everything at a threshold of 0.98 is printed with "
        f"{text.listed(rates)}. Two of these are of 100 episodes each. They differ by {100 * apart.estimate:.0f} "
        f"points ({100 * apart.low:.0f} to {100 * apart.high:.0f}), so something differed that the report does not "
        f"name."
    )


def _latencies(results: pd.DataFrame) -> str:
    known = results[results["reuse_rate"].notna()]
    whole = known[known["mode"].isin(["none", "full"]) & (known["reuse_is"] == "exact")]
    model = reported.fit_latency(whole)
    off = (100 * (whole["latency_ms"] / model.predict(whole["reuse_rate"]) - 1)).abs().max()
    parts = known[~known["mode"].isin(["none", "full"]) & (known["reuse_rate"] > 0.5)]
    saved = 100 * (1 - parts["latency_ms"] / model.full_ms)
    return (
        f"**Its latencies hold together.** {model.full_ms:.0f} ms for a computed step and {model.reuse_ms:.0f} ms for "
        f"a reused one give {len(whole)} rows to {off:.1f} %. Its modes that keep a part reuse as often, but save only "
        f"{saved.min():.0f} to {saved.max():.0f} %: they hardly saved what they kept."
    )


def rows(results: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The printed rows with the exact interval of each success, in percent, where its number of episodes is known."""

    def interval(row: pd.Series) -> str:
        if pd.isna(row["episodes"]):
            return ""
        found = rate_interval(int(row["successes"]), int(row["episodes"]), confidence=confidence)
        return f"{100 * found.low:.0f} to {100 * found.high:.0f}"

    what = results["name"] + results["threshold"].map(" {:g}".format)
    return (
        pd.DataFrame(
            {
                "suite": results["suite"],
                "episodes": results["episodes"].astype(object).fillna("?"),
                "success": results["success_printed"].str.strip("*"),
                "interval": results.apply(interval, axis=1),
                "ms": results["latency_ms"].map("{:.0f}".format, na_action="ignore").fillna(""),
                "reuse": results["reuse_printed"],
            }
        )
        .set_index(what.where(results["mode"] != "none", "no reuse"))
        .rename_axis(index=None, columns="printed row")
    )
