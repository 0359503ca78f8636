"""What *Why reuse fails* says: explanations as predictions that could fail, and what became of them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import text
from kvlab.book.answers import amplification, set_apart
from kvlab.book.answers.amplification import Predictions
from kvlab.evidence import mechanism, verdicts, wording
from kvlab.evidence.rows import pairs, recorded, successes
from kvlab.evidence.stats import Interval, pair
from kvlab.study.records import Records
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")
PARTS = {"vision": "images", "state": "robot state", "all": "both"}
BLIND = {  # what the cameras show in place of what is there
    "black": "black images",
    "frozen": "always the episode's first images",
    "shuffled": "images of another task",
}
CONTROL = "a control, another seed"
INCONSISTENCY = "inconsistency"  # in the first suite; the name of another stands behind it


def late(part: str, lag: int) -> Setting:
    """No reuse, shown inputs of `lag` replans ago."""
    return Setting("none", seeing=f"late({part}, {lag})")


def periodic(period: int) -> Setting:
    """Everything computed at every `period`-th replan and kept until then."""
    return Setting("full", f"every({period})")


def inconsistency(records: Records, lags: Sequence[int], confidence: float = 0.95) -> Predictions:
    """That one late input alone costs more than both: for images and for the robot state, at each of `lags` replans.

    Of what is recorded.
    """
    known = recorded(records)
    return verdicts.fewer(
        {
            f"{PARTS[part]} alone late by {text.count(lag, 'replan')}: fewer than both late": pairs(
                records, late(part, lag), late("all", lag)
            )
            for lag in lags
            for part in ("vision", "state")
            if late(part, lag) in known and late("all", lag) in known
        },
        confidence,
    )


def explanations(
    by_suite: Mapping[str, Records],
    again: Records,
    periods: Sequence[int],
    lags: Sequence[int],
    curves: pd.DataFrame,
    gains: pd.DataFrame,
    confidence: float = 0.95,
) -> dict[str, Predictions]:
    """What each explanation predicts, with what was measured in the first suite, and `INCONSISTENCY` in others.

    `by_suite` may go on with further policies of the first suite, by name.

    `again`: no reuse with another seed; `curves` and `gains` as in data/mechanism. The predictions of one explanation
    share the error.
    """
    records, *_ = by_suite.values()
    elsewhere = {suite: inconsistency(rows, lags, confidence) for suite, rows in [*by_suite.items()][1:]}

    def against(one: Setting, other: Setting):
        return pairs(records, one, other)

    often, seldom = periodic(min(periods)), periodic(max(periods))
    twin = pair(*(successes(rows, NO_REUSE).droplevel("seed") for rows in (again, records)))
    ratios = mechanism.ratios(gains)
    return {
        "staleness": verdicts.fewer(
            {
                f"renewed every {max(periods)} replans: fewer successes than without reuse": against(seldom, NO_REUSE),
                f"every {max(periods)}: fewer than every {min(periods)}": against(seldom, often),
            },
            confidence,
        ),
        INCONSISTENCY: inconsistency(records, lags, confidence),
        **{f"{INCONSISTENCY}, {suite}": predicted for suite, predicted in elsewhere.items() if predicted},
        "amplification": amplification.predictions(curves, confidence),
        "sensitivity": verdicts.above_one(
            {
                "response per relative change: images over robot state": ratios["gain"],
                "response to the change since the last replan: images over robot state": ratios["steady"].dropna(),
                "response to that change of the images over what the derivative says": ratios["bend"],
            },
            confidence,
        ),
        "cameras": verdicts.fewer(
            {
                f"{shown}: fewer successes than with live ones": against(Setting("none", seeing=seen), NO_REUSE)
                for seen, shown in BLIND.items()
            },
            confidence,
        ),
        CONTROL: verdicts.fewer({"fewer successes without reuse": twin}, confidence),
    }


SHOWN = {"amplification": amplification.rate, "sensitivity": wording.ratio}  # all others: points


def table(explained: Mapping[str, Predictions]) -> pd.DataFrame:
    """One row per prediction, under its explanation and the verdict on it; that no loss is shown is a control's aim."""
    found, quiet = verdicts.tables(explained, SHOWN), f"{CONTROL}: {verdicts.NOT_SHOWN}"
    return found.rename(index={quiet: f"{CONTROL}: no loss shown, as it should be"}, level=0)


def square(records: Records, lag: int) -> pd.DataFrame:
    """Successes with the images (columns) and the robot state (rows) on time or late by `lag` replans."""
    seen = [[NO_REUSE, late("vision", lag)], [late("state", lag), late("all", lag)]]
    counts = [[int(successes(records, setting).sum()) for setting in row] for row in seen]
    return pd.DataFrame(counts, index=["state on time", "state late"], columns=["images on time", "images late"])


def headline(counts: pd.DataFrame) -> str:
    """The title of the figure of `square`."""
    (on_time, images), (state, both) = counts.to_numpy()
    if max(images, state, both) >= on_time:
        return "Not every late input costs episodes"
    most = ", both together most" if both < min(images, state) else ""
    return f"Late inputs alone cost episodes, without any cache{most}"


def findings(
    squares: Mapping[int, pd.DataFrame],
    explained: Mapping[str, Predictions],
    aged: Mapping[int, int],
    replan_every: int,
    suite: str,
    episodes: int,
    apart: Mapping[str, Predictions],
    added: Mapping[str, Interval],
) -> list[str]:
    """The chapter's answer. `squares`: `square` by lag in replans of `replan_every` control steps; `aged`: successes by
    period, both of `suite`; `apart` as `set_apart.explanations` gives it; `added` is of `amplification.added_late`.
    """
    return [
        " ".join(
            [_inconsistency(squares, explained[INCONSISTENCY], replan_every, suite, episodes), *_elsewhere(explained)]
        ),
        _staleness(explained["staleness"], aged, suite, episodes, apart),
        amplification.finding(explained["amplification"], added),
        _sensitivity(explained["sensitivity"]),
    ]


def _inconsistency(
    squares: Mapping[int, pd.DataFrame], predictions: Predictions, replan_every: int, suite: str, episodes: int
) -> str:
    lag = min(squares)
    (_, images), (state, both) = squares[lag].to_numpy()
    first = next(iter(predictions.values()))
    return (
        f"**Inconsistency, that an old image with a new robot state is worse than both old: "
        f"{verdicts.verdict(predictions)}.** In `{suite}`, with images late by {lag * replan_every} control steps, "
        f"{images} of {text.count(episodes, 'episode')} succeed, with a late robot state {state}, with both late "
        f"{both}. Late images alone have {text.difference(first.effect, 'both late')}."
    )


def _elsewhere(explained: Mapping[str, Predictions]) -> list[str]:
    """The verdict in every further suite in which late inputs are recorded: a sentence, or none."""
    judged = {
        name.removeprefix(f"{INCONSISTENCY}, "): verdicts.verdict(predictions)
        for name, predictions in explained.items()
        if name.startswith(f"{INCONSISTENCY}, ")
    }
    told = text.listed([f"**{verdict}** in `{name}`" for name, verdict in judged.items()])
    return [f"With other policies: {told}."] if judged else []


def _staleness(
    predictions: Predictions, aged: Mapping[int, int], suite: str, episodes: int, apart: Mapping[str, Predictions]
) -> str:
    often, seldom = min(aged), max(aged)
    *_, last = predictions.values()
    share, age = (
        text.verdict(apart[name]).replace("; ", " (") + ")" * ("; " in text.verdict(apart[name]))
        for name in (set_apart.SHARE, set_apart.AGE)
    )
    return (
        f"**Staleness: {verdicts.verdict(predictions)}, with age and share together.** In `{suite}`, a cache "
        f"that is renewed every {seldom} replans solves {aged[seldom]} of {text.count(episodes, 'episode')}. "
        f"That is {text.difference(last.effect, f'one renewed every {often}')}. Taken apart, that an older cache "
        f"costs episodes at one share is {age}; that more frequent reuse does at one age is {share}."
    )


def _sensitivity(predictions: Predictions) -> str:
    gain, change, _ = predictions.values()
    which = "more" if change.holds else "less"
    moves = f"move them {which}" if change.holds or change.fails else "are not shown to move them more"
    return (
        f"**Sensitivity to images: {text.verdict(predictions)}.** A relative change of the images moves the "
        f"policy's actions {wording.ratio(gain.effect)} times as far as the same change of the robot state. "
        f"By what did change between two replans, images {moves} ({wording.ratio(change.effect)} times as far)."
    )
