"""Ten claims of the February report, each held against what was recorded here."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import amplification
from kvlab.book.answers import why_reuse_fails as why
from kvlab.book.answers.february_table import Claim
from kvlab.book.answers.february_ways import better_ways
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import margins, matching, reported, verdicts
from kvlab.evidence.rows import successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval, independent_difference
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
SPATIAL, TEN = "libero_spatial", "libero_10"
SWEPT = [Setting("full", f"vision >= {t}") for t in (0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.95, 0.945, 0.9, 0.8)]
SWEET, CLIFF = SWEPT[2], SWEPT[3]
WORDS = Setting("text_fixed:skip", "vision >= 0.98")
WORDS_NEW = Setting("vision_only:skip", "vision >= 0.98")  # as WORDS, but for the instruction
SYNCHRONIZED = [Setting("full", f"vision >= {t} & state >= {t}") for t in (0.98, 0.97, 0.945, 0.9, 0.8)]
TOGETHER = 16  # gates that *Synchronized gating* compares with SWEPT: the interval here is the one there
LAGS = (1, 2)  # replans by which inputs are late in *Why reuse fails*: the verdict here is the one there
LATE_IMAGES, LATE_STATE = why.late("vision", 1), why.late("state", 1)
SETTINGS = {
    SPATIAL: [
        *(NO_REUSE, *SWEPT, WORDS, WORDS_NEW, *SYNCHRONIZED),
        *(why.late(part, lag) for lag in LAGS for part in why.PARTS),
    ],
    TEN: [NO_REUSE, CLIFF],
}


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
    """The ten claims, in the report's order. `records`: of SETTINGS; `bought`: no reuse and `levers`, of
    `february_ways.LEVERS` those that are recorded in both suites; `curves` as in data/mechanism.
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
        *better_ways(bought, levers, times, second, margin, confidence),
    ]


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


def _ends(prediction: Prediction) -> str:
    return "is shown" if prediction.holds else "is excluded" if prediction.fails else "is open"


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
    """From one threshold to another, and from one share of replans to another: the one may fail and the other hold."""
    there = [results[(results["table"] == "baseline") & (results["threshold"] == t)].iloc[0] for t in (0.985, 0.98)]
    shares = [row["reuse_rate"] for row in there]
    alike = [min(SWEPT, key=lambda setting: abs(reuse_share(records, setting) - share)) for share in shares]
    each = 1 - (1 - confidence) / 2
    fallen = difference(records, CLIFF, SWEET, each), difference(records, *alike[::-1], each)
    lost, apart = (Prediction(effect, side=-1, nothing=-0.5) for effect in fallen)
    return Claim(
        "There is a cliff: from 0.985 to 0.98 most of the success is lost.",
        f"{100 * there[0]['success']:.0f} to {100 * there[1]['success']:.0f} %; "
        f"reuse {100 * shares[0]:.0f} to {100 * shares[1]:.0f} %",
        f"{100 * lost.effect.estimate:+z.0f} points between these thresholds: over 50 lost {_ends(lost)}. Between "
        f"settings of such shares, {tables.gate(alike[0])} to {tables.gate(alike[1])}, {_k(records, alike[0])} to "
        f"{_k(records, alike[1])}, {_points(apart.effect)}: over 50 lost {_ends(apart)}",
        verdicts.verdict({"thresholds": lost, "shares": apart}),
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
    predictions, added = (
        amplification.predictions(curves, confidence),
        amplification.added_late(amplification.young(curves), confidence),
    )
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
    """Of which modes one rate of growth for all steps, fitted to their distances, is refused by what they add.

    And of which not; nothing where none is refused.
    """
    refused, rest = [], []
    for mode, one in amplification.fitted_late(predictions, amplification.STEPS // 2).items():
        off = one.high < added[mode].low or one.low > added[mode].high
        (refused if off else rest).append(f"{_keeping(mode)} (it gives {one.low:.2f} to {one.high:.2f} times)")
    left = f", and is not ruled out with {text.listed(rest)}" if rest else ""
    return f" One rate for all steps does not fit with {text.listed(refused)}{left}." if refused else ""
