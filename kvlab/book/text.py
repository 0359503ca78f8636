"""Sentences that hold results, for hidden cells: shown as Markdown, which reads the same wherever a notebook is read.

What a chapter says is computed in `kvlab.book.answers`; here is what all of them share, the grammar of numbers.
"""

from collections.abc import Mapping, Sequence

from IPython.display import Markdown

from kvlab.evidence import margins, verdicts
from kvlab.evidence.cost import CONTROL_STEP_MS
from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction
from kvlab.study.study import Study
from kvlab.study.times import MEASURED_STEPS, Latency

MOST_FINDINGS = 4
DECIMALS = (
    "An interval's end has decimals only where a whole number would hide on which side of 0, "
    f"{100 * margins.BUY:.0f} or {100 * margins.MARGIN:.0f} points it lies."
)


def say(*paragraphs: str) -> Markdown | None:
    """The last line of a cell: `paragraphs` as Markdown; None, which shows nothing, where none says any."""
    said = "\n\n".join(filter(None, paragraphs))
    return Markdown(said) if said else None


def findings(claims: Sequence[str]) -> Markdown:
    """A chapter's answer: a numbered list. ValueError: no finding, or more than four."""
    if not 1 <= len(claims) <= MOST_FINDINGS:
        raise ValueError(f"an answer has 1 to {MOST_FINDINGS} findings, got {len(claims)}; the rest is a table's")
    return say("\n".join(f"{number}. {claim}" for number, claim in enumerate(claims, 1)))


def count(many: int, noun: str, plural: str | None = None) -> str:
    """`no episode`, `1 episode`, `3 episodes`; `plural` where an s does not make it."""
    return f"no {noun}" if many == 0 else f"{many:,} {noun if many == 1 else plural or noun + 's'}"


def listed(items: Sequence[object], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`, or with another `word`; `none` where there is none."""
    *first, last = map(str, items or ["none"])
    return f"{', '.join(first)} {word} {last}" if first else last


def percent(share: float) -> str:
    """A share as it stands in a sentence, without a negative zero: `21 %`."""
    return f"{100 * share:z.0f} %"


def difference(interval: Interval, than: str, margin: float = margins.MARGIN) -> str:
    """A difference of success rates in words: `3 points fewer than without reuse (8 fewer to 1 more)`.

    Its ends are written by `margins.bound`.
    """
    value, ends = round(100 * interval.estimate), (interval.low, interval.high)
    amount = f"{count(abs(value), 'point')} {_more(value)} than" if value else "as many as"
    one_way = min(value * end for end in ends) > 0
    low, high = (margins.bound(abs(end), margin) for end in (sorted(ends, key=abs) if one_way else ends))
    if not one_way:
        low, high = (f"{end} {_more(sign)}" if end != "0" else end for end, sign in zip((low, high), ends, strict=True))
    return f"{amount} {than} ({low} to {high})"


def _more(points: float) -> str:
    return "more" if points > 0 else "fewer"


def verdict(predictions: Mapping[str, Prediction]) -> str:
    """The verdict on an explanation; where its predictions come out differently, also how many hold."""
    judged, held = verdicts.verdict(predictions), sum(one.holds for one in predictions.values())
    if judged in (verdicts.SUPPORTED, verdicts.REFUTED) or len(predictions) == 1:
        return judged
    return f"{judged}; {held or 'none'} of {count(len(predictions), 'prediction')} hold{'s' * (held < 2)}"


def planned(*studies: Study, workers: int = 2) -> str:
    """What of `studies` is recorded and what the next cell runs, before anything runs."""
    lacking = [study for study in studies if study.plan()["missing"].any()]
    if not lacking:
        episodes = count(sum(study.episodes * len(study.settings) for study in studies), "episode")
        return f"The study has {episodes}; all are recorded, and the next cell reads them."
    return " ".join(f"Of `{study.protocol.suite}` {study.estimate(workers)}" for study in lacking)


def compared(study: Study, *machines: Latency) -> str:
    """What every setting is compared with, whose success is counted, and what of the times is computed."""
    return (
        f"{no_reuse(study)} {sizes(study, *machines)} Times of fewer denoising steps are computed from that of "
        f"{MEASURED_STEPS}{''.join(map(_timed, machines))}."
    )


def no_reuse(study: Study) -> str:
    """What every setting is compared with."""
    config, executed = study.policy.config, study.protocol.replan_every
    return (
        f"**No reuse**, the policy's own setting, takes {config.denoising_steps} denoising steps and executes the "
        f"first {executed} of the {config.chunk} actions of a chunk, at {1000 / CONTROL_STEP_MS:.0f} Hz."
    )


def sizes(study: Study, *machines: Latency) -> str:
    """How large the policies are whose success is counted and whose times are taken."""
    millions = sum(one.numel() for one in study.policy.model.parameters()) / 1e6
    random = [one.name for one in machines if one.name.startswith("`base`")]
    larger = f"; {random[0]} is of the published size, with random weights" if random else ""
    return f"Success is of a policy of {millions:,.0f} million parameters{larger}."


def _timed(machine: Latency) -> str:
    """Of how many denoising steps replans were timed on a machine, if of any."""
    if not (steps := machine.timed_steps):
        return ""
    where = machine.name.split(" on ")[-1]
    return f"; on {where} those of {listed(list(map(str, steps)))} were measured ([Inside the engine](engine.ipynb))"
