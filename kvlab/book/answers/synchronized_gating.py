"""What *Synchronized gating* says: gates compared with the image gate, out of `matching.matched`."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.clocks import clock
from kvlab.book.answers.gate_kinds import BOTH, BOTH_BETTER, BOTH_WORSE, CLOCK, COUNTS, OPEN, in_both, kind, looks
from kvlab.evidence import drift, margins
from kvlab.evidence.rows import pairs, recorded
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval, paired_difference
from kvlab.reuse import parse_gate
from kvlab.reuse.phase import SAMPLES
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency


def headline(gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure: how many gates are worse at equal reuse, and how many better, in both counts."""
    found = [verdict for *_, verdict in _judged(gained, needed)]
    worse, better = found.count(BOTH_WORSE), found.count(BOTH_BETTER)
    gates = text.count(len(found), "gate that looks", "gates that look")
    return (
        f"At equal reuse, in both counts, {worse or 'none'} of {gates} {_are(worse)} shown to be worse than the image "
        f"gate, {better or 'none'} better"
    )


def _judged(
    gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame]
) -> list[tuple[str, Setting, Interval, Interval | None, str]]:
    """`_gates` with the gain in the second count, and what both show."""
    rows = [(suite, setting, gain, needed[suite].gain[setting]) for suite, setting, gain in _gates(gained)]
    return [(*row, in_both(*row[2:])) for row in rows]


def findings(
    gained: Mapping[str, pd.DataFrame],
    needed: Mapping[str, pd.DataFrame],
    clocks: tuple[Mapping[str, pd.DataFrame], Mapping[str, pd.DataFrame]],
    same: Mapping[str, pd.DataFrame],
    off: pd.Series,
    records: Mapping[str, Records],
    margin: float,
) -> list[str]:
    """The chapter's answer, by suite: `matched` over all replans, and (`needed`) within those that no reuse took.

    `clocks` has both of clocks alone, `same` is of `stricter`, `off` of `matching.left_out`; `margin` is the difference
    of success that matters, in (0, 1). Nothing is said of what was not run.
    """
    first = next(iter(gained))
    said = [
        alike(gained, needed, margin),
        second_condition(first, same, gained[first], needed[first]),
        worse(gained, needed, off),
        clock(*clocks, records),
    ]
    return [claim for claim in said if claim]


def stricter(records: Records, settings: Sequence[Setting], confidence: float) -> pd.DataFrame:
    """Of `settings` the gates on images and robot state, beside the image gate of the same threshold, loosest first.

    Those that ask for two thresholds, or whose image gate is not recorded, have no row.
    `images`: that gate's setting; `k`, `images_k`, `n`, `reuse`, `images_reuse`; `difference`, an Interval (Tango); the
    shares of its refused replans at which only the `vision_anchor` failed, only the `state_anchor`, or `several`.
    """
    rows, known = {}, recorded(records)
    for setting in settings:
        if kind(setting) != BOTH:
            continue
        vision, state = (term.bound for term in parse_gate(setting.gate).terms)
        other = Setting(setting.mode, f"vision >= {vision!r}")
        if vision != state or other not in known:
            continue
        counts = pairs(records, setting, other)
        rows[setting] = {"images": other, "n": counts.n, "difference": paired_difference(counts, confidence)}
        rows[setting] |= {"reuse": reuse_share(records, setting), "images_reuse": reuse_share(records, other)}
        rows[setting] |= {"k": counts.both + counts.setting_only, "images_k": counts.both + counts.control_only}
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.join(drift.refusals(records, list(rows))).sort_values("images_reuse", ascending=False)


def second_condition(
    suite: str, same: Mapping[str, pd.DataFrame], gained: pd.DataFrame, needed: pd.DataFrame
) -> str | None:
    """What asking for the robot state too does at one threshold, in all suites and where `suite` has the clearest gain,
    and there at equal reuse.
    """
    if (here := same[suite]).empty:
        return None
    best = max(here.index, key=lambda one: here.difference[one].low)
    row, counts = here.loc[best], (gained.gain[best], needed.gain[best])
    lead = "That a second condition helps is not shown"
    if row.difference.low > 0:
        equal = {BOTH_BETTER: "and at equal reuse", BOTH_WORSE: "but fewer at equal reuse"}
        gaps = [gap for table in same.values() if len(table) for gap in table.difference]
        more, many = sum(gap.low > 0 for gap in gaps), text.count(len(gaps), "comparison")
        lead = f"At one threshold a second condition solves more in {more} of {many}, "
        lead += equal.get(in_both(*counts), "since it reuses less; at equal reuse that is open")
    said = (
        f"**{lead}.** In `{suite}` the gate {tables.gate(row.images)} allows reuse at {text.percent(row.images_reuse)} "
        f"of replans, and {row.images_k} of {text.count(row.n, 'episode')} succeed. Asking the robot state too allows "
        f"{text.percent(row.reuse)}, and {row.k} succeed: {text.difference(row.difference, 'with images alone')}."
    )
    at = [(where, gain) for where, gain in zip(COUNTS, counts, strict=True) if gain is not None]
    equal = [f"{text.difference(gain, 'with images alone')} {where}" for where, gain in at]
    return f"{said} At equal reuse that is {'; '.join(equal)}." if equal else said


def alike(gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame], margin: float) -> str | None:
    """How many gates are better, worse, about as good as the image gate in both counts of reuse; clocks apart."""
    if not (gates := _judged(gained, needed)):
        return None
    found = [verdict for *_, verdict in gates]
    better, worse = found.count(BOTH_BETTER), found.count(BOTH_WORSE)
    close = sum(
        gain is not None and 0 in gain and all(_within(one, margin) for one in (gain, again))
        for _, _, gain, again, verdict in gates
        if verdict == OPEN
    )
    depends, unknown = len(found) - better - worse - found.count(OPEN), found.count(OPEN) - close
    beyond = sum(gain is None and kind(s) != CLOCK for table in gained.values() for s, gain in table.gain.items())
    far = f" {beyond} more {'reuses' if beyond == 1 else 'reuse'} more often than any image gate." if beyond else ""
    lead = "Where the images have changed little" if not better else "That depends on what the gate compares"
    return (
        f"**{lead}: at equal reuse {better or 'none'} of {text.count(len(gates), 'gate')} {_are(better)} shown to be "
        f"better than the image gate, {worse or 'none'} worse.** A verdict needs both counts of reuse to agree; for "
        f"{depends or 'none'} they disagree. {str(close or 'none').capitalize()} {_are(close)} shown to be within "
        f"{100 * margin:.0f} points in both; for {unknown or 'none'} more that is open.{far}"
    )


def _within(gain: Interval | None, margin: float) -> bool:
    return gain is not None and margins.apart(gain, margin) == margins.INSIDE


def worse(gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame], off: pd.Series) -> str | None:
    """Of each kind of gate that loses in both counts how many do, and the clearest loss; what the intervals leave out
    (`off`).
    """
    judged = _judged(gained, needed)
    if not any(verdict == BOTH_WORSE for *_, verdict in judged):
        return None
    losers = _losers(judged)
    lost = [kind(setting) for _, setting, *_, verdict in judged if verdict == BOTH_WORSE]
    kinds = [kind(setting) for _, setting, *_ in judged]
    many = [f"{lost.count(name)} of {text.count(kinds.count(name), 'gate')} on {name}" for name in losers]
    each = [
        f"With {tables.gate(setting)} reuse is allowed at {text.percent(gained[suite].reuse[setting])} of replans "
        f"in `{suite}`; there the policy solves {text.difference(gain, 'with the image gate')}."
        for suite, setting, gain, *_ in losers.values()
    ]
    miss = 100 * off.abs()
    return (
        f"**Worse in both counts: {text.listed(many)}.** {' '.join(each)} Between thresholds the curve of image gates "
        "is taken as straight, which no interval includes: with one threshold left out, the line misses it by "
        f"{miss.median():.0f} points in the median and by {miss.max():.0f} at most."
    )


def _are(many: int) -> str:
    return "are" if many > 1 else "is"


def _losers(judged: list[tuple]) -> dict[str, tuple]:
    """Of `_judged` the gate of each kind that loses in both counts, and most clearly in the first."""
    clearest = {}
    for row in sorted(judged, key=lambda one: one[2].high):
        if row[-1] == BOTH_WORSE:
            clearest.setdefault(kind(row[1]), row)
    return clearest


def _gates(gained: Mapping[str, pd.DataFrame]) -> list[tuple[str, Setting, Interval]]:
    """Suite, setting and gain of every gate that looks at something and has its match on the curve."""
    rows = [(suite, s, gain) for suite, table in gained.items() for s, gain in table.gain.items() if gain is not None]
    return [row for row in rows if kind(row[1]) != CLOCK]


def forest(
    gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame]
) -> tuple[list[str], list[Interval], list[Interval | None], list[str]]:
    """Labels, gains in the first and in the second count, and looks of a figure of all gates that have the first.

    Other suites than the first stand in the label.
    """
    first = next(iter(gained))
    rows = [(suite, s, gain) for suite, table in gained.items() for s, gain in table.gain.items() if gain is not None]
    labels = [("" if suite == first else f"{suite}: ") + _short(setting) for suite, setting, _ in rows]
    again = [needed[suite].gain[setting] for suite, setting, _ in rows]
    return labels, [gain for *_, gain in rows], again, looks([setting for _, setting, _ in rows])


def _short(setting: Setting) -> str:
    """`tables.gate` for a figure: one threshold is said once, and those of adaptive gates are left to the tables."""
    once = re.sub(r"^images ≥ (\S+), robot state ≥ \1$", r"images, robot state ≥ \1", tables.gate(setting))
    return re.sub(r"^images ≥ \S+ or \S+ by ", "images by ", once)


def spread(gained: pd.DataFrame, times: Latency) -> str:
    """Whether a gate that measures the spread can pay at its share of reuse; nothing where there is no such gate."""
    measured = [setting for setting in gained.index if "spread" in parse_gate(setting.gate).phases]
    if not measured:
        return ""
    reuse, image_gate = gained.reuse[measured[0]], Setting("full", "vision >= -1")
    saved = times.replan_ms(image_gate, allowed=False) - times.replan_ms(image_gate, allowed=True)
    bearable, chunk = saved * reuse / (1 - reuse), times.stages.loc["none", "denoise"]
    return (
        f"The spread {'cannot pay' if chunk > bearable else 'may pay'}. It denoises {SAMPLES} further chunks at each "
        f"computed replan. At this share of reuse ({text.percent(reuse)}) reuse saves {bearable:.0f} ms for each of "
        f"these; one chunk takes {chunk:.0f} ms ({times.name})."
    )
