"""What the February report recommends in place of reuse, as claims: each way alone, held against what was recorded."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import recommended
from kvlab.book.answers.february_table import ONCE, Claim
from kvlab.book.answers.second_seed import NO_REUSE, SecondSeed
from kvlab.evidence import frontier, margins, verdicts
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

LEVERS = [parse_setting(said) for said in recommended.FIRST]  # of these what is recorded in both suites
WAYS = {
    "fewer denoising steps": lambda setting: setting == Setting("none", denoising_steps=setting.denoising_steps),
    "longer chunks": lambda setting: setting == Setting("none", execute=setting.execute),
}


def better_ways(
    records: Mapping[str, Records],
    levers: Sequence[Setting],
    times: Latency,
    second: SecondSeed,
    margin: float,
    confidence: float,
) -> list[Claim]:
    """One claim of each of WAYS: at a loss inside the margin it costs less than any reuse does."""
    says = {way: f"Reuse is not worth it: {way} are the better way." for way in WAYS}
    printed, limit = "no other way was tried", f"under {100 * margin:.0f} points in both suites"
    if not levers:
        found, decides = "no other way is recorded in both suites yet", "these ways on the same episodes"
        return [Claim(one, printed, found, verdicts.NOT_SHOWN, decides) for one in says.values()]
    bought = frontier.within_margin(records, [NO_REUSE, *levers], NO_REUSE, {times.name: times}, margin, confidence)
    saving = bought[bought[times.name, "of_control"] < 1]
    reuse = frontier.cheapest(_only(saving, lambda setting: setting.mode not in ("none", "chunk")))
    found = []
    for way, chosen in WAYS.items():
        tried = _only(saving, chosen)
        choice = second.choose([*tried.index[tried["all", "inside"].astype(bool)]])
        best, twice = (choice.taken.setting, choice.confirmed) if choice else (None, False)
        once, first, both = ("", " by the first seed", " by two seeds") if twice else ("by the first seed, ", "", "")
        told = (
            f"{once}the cheapest that loses {limit}: of {way}{both} {_costs(best, saving, times.name)}; "
            f"of reuse{first} {_costs(reuse, saving, times.name)}"
        )
        verdict, again = _way(tried, best, saving, reuse, times.name), ""
        if verdict == verdicts.SUPPORTED:
            verdict, again = verdict if choice.confirmed else ONCE, choice.taken.clause
        found.append(Claim(says[way], printed, told, verdict, "more episodes", again=again))
    return found


def _only(bought: pd.DataFrame, chosen: Callable[[Setting], bool]) -> pd.DataFrame:
    return bought[[chosen(setting) for setting in bought.index]]


def _way(tried: pd.DataFrame, best: Setting | None, saving: pd.DataFrame, reuse: Setting | None, machine: str) -> str:
    """How the claim of a way ends whose `best` of the `tried` settings is inside the margin.

    Open where none is, unless all are outside of it and some reuse is inside.
    """
    costs = saving[machine, "of_control"]
    if best is not None and (reuse is None or costs[best] < costs[reuse]):
        return verdicts.SUPPORTED
    lost = len(tried) > 0 and tried.xs("loss", axis=1, level=1).eq(margins.OUTSIDE).any(axis=1).all()
    return verdicts.REFUTED if reuse is not None and (best is not None or lost) else verdicts.NOT_SHOWN


def _costs(setting: Setting | None, saving: pd.DataFrame, machine: str) -> str:
    if setting is None:
        return "none is shown to"
    return f"{tables.lever(setting)}, at {text.percent(saving.loc[setting, (machine, 'of_control')])} of the inference"
