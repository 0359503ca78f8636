"""Ten claims of the February report, each held against what was recorded here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import buy_instead
from kvlab.book.answers import why_reuse_fails as why
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import frontier, margins, matching, reported, verdicts
from kvlab.evidence.rows import successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval, independent_difference
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
SPATIAL, TEN = "libero_spatial", "libero_10"
SWEPT = [Setting("full", f"vision >= {t}") for t in (0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.95, 0.945, 0.9, 0.8)]
SWEET, CLIFF = SWEPT[2], SWEPT[3]
WORDS = Setting("text_fixed:skip", "vision >= 0.98")
WORDS_NEW = Setting("vision_only:skip", "vision >= 0.98")  # as WORDS, but for the instruction
SYNCHRONIZED = [Setting("full", f"vision >= {t} & state >= {t}") for t in (0.98, 0.97, 0.945, 0.9, 0.8)]
TOGETHER = 16  # gates that *Synchronized gating* compares with SWEPT: the interval here is the one there
ONCE = "supported with the first seed alone"
LAGS = (1, 2)  # replans by which inputs are late in *Why reuse fails*: the verdict here is the one there
LATE_IMAGES, LATE_STATE = why.late("vision", 1), why.late("state", 1)
LEVERS = [parse_setting(said) for said in buy_instead.FIRST]  # of these what is recorded in both suites
WAYS = {  # what the report recommends in place of reuse, each way alone
    "fewer denoising steps": lambda setting: setting == Setting("none", denoising_steps=setting.denoising_steps),
    "longer chunks": lambda setting: setting == Setting("none", execute=setting.execute),
}
SETTINGS = {
    SPATIAL: [
        *(NO_REUSE, *SWEPT, WORDS, WORDS_NEW, *SYNCHRONIZED),
        *(why.late(part, lag) for lag in LAGS for part in why.PARTS),
    ],
    TEN: [NO_REUSE, CLIFF],
}


@dataclass(frozen=True)
class Claim:
    """A claim of the report: what it printed for it, what was found here, and how it ends.

    Where it is not shown, what would decide it, and how large an effect is left. Where it is supported by a setting
    that was chosen among many, what a second seed says of that one.
    """

    says: str
    printed: str
    found: str
    verdict: str
    decides: str = ""
    left: str = ""
    again: str = ""


def claims(
    records: Mapping[str, Records],
    bought: Mapping[str, Records],
    levers: Sequence[Setting],
    curves: pd.DataFrame,
    times: Latency,
    second: SecondSeed,
    margin: float,
    confidence: float = 0.95,
) -> list[Claim]:
    """The ten claims, in the report's order. `records`: of SETTINGS; `bought`: no reuse and `levers`, those of LEVERS
    that are recorded in both suites; `curves` as in data/mechanism.
    """
    short, results = records[SPATIAL], reported.load()
    printed = _printed(results)
    return [
        _sweet_spot(short, printed, margin, confidence),
        _cliff(short, results, confidence),
        _carries_over(records, printed, confidence),
        _images_or_state(short, printed, confidence),
        _text(short, printed, margin, confidence),
        _together(short, printed, confidence),
        _synchronized(short, printed, confidence),
        _amplified(curves, confidence),
        *_better_ways(bought, levers, times, second, margin, confidence),
    ]


def table(found: Sequence[Claim]) -> pd.DataFrame:
    """One row a claim, how it ends first."""
    return pd.DataFrame(
        {
            "ends as": [_end(claim) for claim in found],
            "found here": [claim.found for claim in found],
            "printed there": [claim.printed for claim in found],
        },
        index=[f"{number}. {claim.says}" for number, claim in enumerate(found, 1)],
    ).rename_axis(columns="the report says")


def _end(claim: Claim) -> str:
    if claim.again:
        return f"{claim.verdict}. {claim.again.replace('`', '')}"
    if claim.verdict != verdicts.NOT_SHOWN:
        return claim.verdict
    decided = f"would be decided by {claim.decides}" if claim.decides else ""
    return "; ".join(filter(None, (claim.verdict, claim.left, decided)))


def _printed(results: pd.DataFrame):
    """A success as printed, by table and row or name."""

    def rate(table: str, **where) -> str:
        rows = results[results["table"] == table]
        for column, value in where.items():
            rows = rows[rows[column] == value]
        return f"{100 * rows['success'].iloc[0]:.3g} %"

    return rate


def _judged(prediction: Prediction) -> str:
    return verdicts.verdict({"": prediction})


def _left(prediction: Prediction) -> str:
    """How large an effect on the claim's side is left."""
    return f"nothing above {text.count(round(100 * prediction.left), 'point')} is left"


def _more(prediction: Prediction, episodes: int) -> str:
    """How many episodes in place of these `episodes` would decide it, to one digit."""
    many = episodes * prediction.more
    said = "over 10,000" if many > 10_000 else f"about {float(f'{many:.1g}'):,.0f}"
    return f"{said} episodes, if the effect is what it now seems"


def _points(interval: Interval) -> str:
    low, high = map(margins.bound, (interval.low, interval.high))
    return f"{100 * interval.estimate:+z.0f} points ({low} to {high})"


def _k(records: Records, setting: Setting) -> str:
    found = successes(records, setting)
    return f"{int(found.sum())} of {len(found)}"


def _sweet_spot(records: Records, printed, margin: float, confidence: float) -> Claim:
    lost = difference(records, SWEET, NO_REUSE, confidence)
    harmless = Prediction(lost, side=1, nothing=-margin)
    return Claim(
        "At a threshold of 0.985 everything can be reused without loss.",
        f"{printed('baseline', threshold=0.985)}, of an unstated number of episodes",
        f"{_k(records, SWEET)}, {_points(lost)}, at {text.percent(reuse_share(records, SWEET))} of replans",
        _judged(harmless),
        _more(harmless, len(successes(records, SWEET))),
    )


def _cliff(records: Records, results: pd.DataFrame, confidence: float) -> Claim:
    fallen = difference(records, CLIFF, SWEET, confidence)
    there = [results[(results["table"] == "baseline") & (results["threshold"] == t)].iloc[0] for t in (0.985, 0.98)]
    before, after = (row["reuse_rate"] for row in there)
    alike = min(SWEPT, key=lambda setting: abs(reuse_share(records, setting) - after))
    return Claim(
        "There is a cliff: from 0.985 to 0.98 most of the success is lost.",
        f"{100 * there[0]['success']:.0f} to {100 * there[1]['success']:.0f} %; "
        f"reuse {100 * before:.0f} to {100 * after:.0f} %",
        f"{_points(fallen)} from 0.985 to 0.98. Where reuse is as frequent as there, {tables.gate(alike)}, "
        f"{_k(records, alike)}: a slope along the share of reuse",
        _judged(Prediction(fallen, side=-1, nothing=-0.5)),
        "more episodes",
    )


def _carries_over(records: Mapping[str, Records], printed, confidence: float) -> Claim:
    lost = {suite: difference(records[suite], CLIFF, NO_REUSE, confidence) for suite in (SPATIAL, TEN)}
    more = Prediction(independent_difference(lost[TEN], lost[SPATIAL]), side=-1)
    shares = [text.percent(reuse_share(records[suite], CLIFF)) for suite in (SPATIAL, TEN)]
    return Claim(
        "A threshold does not carry over: 0.98 loses more in libero_10.",
        f"{printed('modality_100', mode='full')} and {printed('libero_10_100', mode='full')}, neither with a control",
        f"lost in libero_10 beyond what libero_spatial loses: {_points(more.effect)}. "
        f"It reuses at {shares[0]} and {shares[1]}",
        _judged(more),
        f"one policy on both suites, and {_more(more, len(successes(records[TEN], CLIFF)))}",
        _left(more),
    )


def _images_or_state(records: Records, printed, confidence: float) -> Claim:
    more = Prediction(difference(records, LATE_STATE, LATE_IMAGES, confidence), side=1)
    images, state = (printed("modality_100", mode=mode) for mode in ("vision_only", "state_only"))
    return Claim(
        "Old images are what does the harm; an old state is milder.",
        f"images kept {images}, the rest {state}; its “state” is a masked camera and the prompt",
        f"all else fresh, a late state has {_k(records, LATE_STATE)}, late images {_k(records, LATE_IMAGES)}: "
        f"{_points(more.effect)}",
        _judged(more),
        "a policy whose state cannot jump",
        _left(more),
    )


def _text(records: Records, printed, margin: float, confidence: float) -> Claim:
    lost = difference(records, WORDS, WORDS_NEW, confidence)
    return Claim(
        "The instruction's cache can always be reused.",
        f"{printed('modality_100', mode='text_fixed')}, with the images kept too",
        f"{_points(lost)} for keeping it from the first step on: its words have read the first images",
        _judged(Prediction(lost, side=1, nothing=-margin)),
        "more episodes",
    )


def _together(records: Records, printed, confidence: float) -> Claim:
    predictions = why.inconsistency(records, LAGS, confidence)
    whole, part = (printed("modality_100", mode=mode) for mode in ("full", "vision_only"))
    first = next(iter(predictions.values()))
    return Claim(
        "What is reused must be of one moment: consistency matters more than freshness.",
        f"everything {whole}, images alone {part}",
        f"without a cache, images alone late by a replan, compared with both late: {_points(first.effect)}; and "
        f"{len(predictions) - 1} more predictions",
        verdicts.verdict(predictions),
        "more episodes",
    )


def _synchronized(records: Records, printed, confidence: float) -> Claim:
    """Safer where it solves more at equal reuse; less so, or more, only where both counts of replans say it."""
    share, curve = 1 - (1 - confidence) * len(SYNCHRONIZED) / TOGETHER, [NO_REUSE, *SWEPT]
    counts = [
        [Prediction(gain, side=1) for gain in matching.matched(records, SYNCHRONIZED, curve, within, share)["gain"]]
        for within in (None, NO_REUSE)
    ]
    sure = {
        str(setting): min(both, key=lambda one: one.holds or one.fails)
        for setting, *both in zip(SYNCHRONIZED, *counts, strict=True)
    }
    every = [one for count in counts for one in count]
    gains = sorted(100 * one.effect.estimate for one in every)
    small, large = (
        [printed(name, threshold=0.98, name=gate) for gate in ("synchronized", "baseline")]
        for name in ("synchronized_3", "synchronized_100")
    )
    return Claim(
        "Synchronized gating, on images and state, is safer.",
        f"{small[0]} against {small[1]} of 3 episodes; {large[0]} against {large[1]} of 100",
        f"{len(SYNCHRONIZED)} thresholds, compared with the image gate at equal reuse in two counts of replans: "
        f"{gains[0]:+z.0f} to {gains[-1]:+z.0f} points. At 0.98, {_points(counts[0][0].effect)} at "
        f"{text.percent(reuse_share(records, SYNCHRONIZED[0]))} of replans",
        verdicts.verdict(sure),
        "more episodes",
        _left(max(every, key=lambda one: one.left)),
    )


def _amplified(curves: pd.DataFrame, confidence: float) -> Claim:
    predictions, added = why.amplification(curves, confidence), why.added_late(why.young(curves), confidence)
    each = text.listed([f"{ratio.estimate:.2f} times ({_keeping(mode)})" for mode, ratio in added.items()])
    most = max(ratio.high for ratio in added.values())
    more = ": later steps add more" if all(ratio.low > 1 for ratio in added.values()) else ""
    return Claim(
        "Denoising amplifies small differences exponentially.",
        "nothing was measured",
        f"the second half of the steps adds {each} what the first half adds{more}.{_no_one_rate(predictions, added)}",
        verdicts.verdict(predictions),
        left=f"more than {most:.2f} times in the second half is excluded",
    )


def _keeping(mode: str) -> str:
    return f"{tables.kept(Setting(mode, 'always'))} kept"


def _no_one_rate(predictions: Mapping[str, Prediction], added: Mapping[str, Interval]) -> str:
    """Of which modes one rate of growth for all steps, fitted to their distances, is refused by what they add."""
    said = []
    for mode, one in why.fitted_late(predictions, why.STEPS // 2).items():
        if one.high < added[mode].low or one.low > added[mode].high:
            allowed = f"with {_keeping(mode)} it would be {one.low:.2f} to {one.high:.2f} times"
            said.append(f" One rate of growth for all steps does not fit: {allowed}.")
    return "".join(said)


def _better_ways(
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
        best = frontier.cheapest(tried)
        told = (
            f"the cheapest that loses {limit}: of {way} {_costs(best, saving, times.name)}; "
            f"of reuse {_costs(reuse, saving, times.name)}"
        )
        verdict, again = _way(tried, saving, reuse, times.name), ""
        if verdict == verdicts.SUPPORTED:
            seed = second.of(best)
            verdict, again = verdict if seed.verdict == margins.INSIDE else ONCE, seed.clause
        found.append(Claim(says[way], printed, told, verdict, "more episodes", again=again))
    return found


def _only(bought: pd.DataFrame, chosen: Callable[[Setting], bool]) -> pd.DataFrame:
    return bought[[chosen(setting) for setting in bought.index]]


def _way(tried: pd.DataFrame, saving: pd.DataFrame, reuse: Setting | None, machine: str) -> str:
    """Open where no setting of a way is inside the margin, unless all are outside of it and some reuse is inside."""
    best, costs = frontier.cheapest(tried), saving[machine, "of_control"]
    if best is not None and (reuse is None or costs[best] < costs[reuse]):
        return verdicts.SUPPORTED
    lost = len(tried) > 0 and tried.xs("loss", axis=1, level=1).eq(margins.OUTSIDE).any(axis=1).all()
    return verdicts.REFUTED if reuse is not None and (best is not None or lost) else verdicts.NOT_SHOWN


def _costs(setting: Setting | None, saving: pd.DataFrame, machine: str) -> str:
    if setting is None:
        return "none is shown to"
    return f"{tables.lever(setting)}, at {text.percent(saving.loc[setting, (machine, 'of_control')])} of the inference"
