"""Whether a gate on thumbnails does worse than one on image tokens, and why: what *Why reuse fails* says."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import drift, matching, verdicts, wording
from kvlab.evidence.rows import gains, of_setting, recorded, successes
from kvlab.evidence.share import mean_age, reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")
THUMBNAILS, IMAGES = "pixels >= 0.9", "vision >= 0.945"  # they allow about as much reuse
GRASPS = " & gripper < 1"
STRICTER = Setting("full", "pixels >= 0.93"), Setting("full", "vision >= 0.96")  # likewise, of less reuse
NEAR = 0.05  # of replans: shares of reuse that differ by more are not equal
MOMENTS, OLDER = "thumbnails miss grasps", "thumbnails let caches grow old"
SMALL, PIXELS = "thumbnails are too small", "pixels tell less than image tokens"
SHOWN = dict.fromkeys((OLDER, SMALL, PIXELS), wording.ratio)  # replans, and rank correlations; points otherwise


def gates(condition: str = "") -> tuple[Setting, Setting]:
    """Everything kept behind thumbnails and behind image tokens, with the same further condition."""
    return Setting("full", THUMBNAILS + condition), Setting("full", IMAGES + condition)


PAIRS = (gates(), STRICTER, gates(GRASPS))
SETTINGS = [one for pair in PAIRS for one in pair]
FURTHER = [PAIRS[0][0], STRICTER[0]]  # of other suites than the first, told where they are recorded


def beside(records: Mapping[str, Records]) -> dict[str, list[tuple[Setting, Setting]]]:
    """By suite: thumbnails and image tokens that allow about as much reuse; of a further suite the nearest image gate.

    A suite without thumbnails, or without an image gate, has no pair.
    """
    first, *others = records
    found = {first: [*PAIRS[:2]]}
    for suite in others:
        rows, images = records[suite], matching.image_gates(records[suite], "full")[1:]
        known = [one for one in FURTHER if one in recorded(rows)] if images else []
        found[suite] = [*drift.matched(rows, known, images).partner.items()] if known else []
    return found


def explanations(
    records: Mapping[str, Records], looks: pd.DataFrame, confidence: float = 0.95
) -> dict[str, dict[str, Prediction]]:
    """Reasons for the gap between the gates, each by what follows from it. The predictions of one share the error.

    `looks` as in data/mechanism/signals.csv: a look that tells more has the higher rank correlation with the distance
    of the answers. If thumbnails are too small, whole frames tell more; if pixels tell less, image tokens do.
    If thumbnails allow reuse near grasps, the gripper's command changes more often where they find the images alike,
    in every suite, and the gap is smaller where both gates recompute there. If they let caches grow old, what they
    reuse is older, in each pair of `beside`. The gap is that of the first suite.
    """
    suite, first = next(iter(records.items()))
    more = {f"{name}: more changes of the gripper's command": near_grasps(rows) for name, rows in records.items()}
    smaller = gains(first, *gates(GRASPS)) - gains(first, *gates())
    more |= {f"{suite}: a smaller gap where both gates recompute near grasps": smaller}
    older = {
        f"{suite}: {tables.gate(one)}: older than {tables.gate(two)}": _age(records[suite], one)
        - _age(records[suite], two)
        for suite, both in beside(records).items()
        for one, two in both
    }
    return {
        MOMENTS: verdicts.above_zero(more, confidence),
        OLDER: verdicts.above_zero({says: ages.dropna() for says, ages in older.items()}, confidence),
        SMALL: verdicts.above_zero(_more_than_thumbnails(looks, "frames"), confidence),
        PIXELS: verdicts.above_zero(_more_than_thumbnails(looks, "image tokens"), confidence),
    }


def _more_than_thumbnails(looks: pd.DataFrame, look: str) -> dict[str, pd.Series]:
    """By what is kept: by how much the rank correlation of `look`, with both cameras, is higher, by episode."""
    both = looks[looks["camera"] == "both"].set_index(["mode", "look", "episode"])["rank"].sort_index()
    modes = {mode: tables.KEPT[mode] for mode in both.index.unique("mode")}
    return {
        f"{kept} kept: {look} tell more": both[mode, look] - both[mode, "thumbnails"] for mode, kept in modes.items()
    }


def _age(records: Records, setting: Setting) -> pd.Series:
    """By episode: the mean age of what is reused, in replans; the table's is over all replans that reuse."""
    replans = of_setting(records.replans, setting)
    return replans[replans["reused"]].groupby(EPISODE)["age"].mean()


def near_grasps(records: Records) -> pd.Series:
    """By episode without reuse: share of replans at which the gripper's command changes, among the half that thumbnails
    find most alike to the replan before, minus that among the half that image tokens do.
    """
    replans = of_setting(records.replans, NO_REUSE).dropna(subset=["vision_anchor"])
    changes = replans.assign(changes=~(replans["gripper"] < 1)).set_index(EPISODE)
    shares = {}
    for signal in ("pixels_anchor", "vision_anchor"):
        alike = changes[changes[signal] >= changes[signal].median()]
        shares[signal] = alike.groupby(EPISODE)["changes"].mean()
    return (shares["pixels_anchor"] - shares["vision_anchor"]).dropna()


def finding(
    records: Mapping[str, Records], explained: Mapping[str, Mapping[str, Prediction]], confidence: float = 0.95
) -> str:
    """In how many pairs thumbnails are shown to do worse, and how many of the reasons are supported or refuted.

    A pair counts where both gates reuse equally often, within NEAR.
    """
    gaps = [
        difference(records[suite], one, two, confidence)
        for suite, both in beside(records).items()
        for one, two in both
        if abs(reuse_share(records[suite], one) - reuse_share(records[suite], two)) <= NEAR
    ]
    judged = [verdicts.verdict(predictions) for predictions in explained.values()]
    supported, refuted = (judged.count(one) or "none" for one in (verdicts.SUPPORTED, verdicts.REFUTED))
    are = "is" if supported in (1, "none") else "are"
    return (
        f"{_lead(gaps)} **Of {text.count(len(judged), 'reason')} why they would do worse, {supported} {are} supported "
        f"and {refuted} refuted.**"
    )


def _lead(gaps: Sequence[Interval]) -> str:
    """In how many pairs of equal reuse thumbnails are shown to do worse, and better."""
    near = f"{100 * NEAR:.0f} points"
    if not gaps:
        return f"**No plain gate on thumbnails reuses as often as its image gate, within {near}.**"
    worse, better = (sum(test(gap) for gap in gaps) for test in (lambda g: g.high < 0, lambda g: g.low > 0))
    pairs = text.count(len(gaps), "pair of plain gates", "pairs of plain gates")
    return (
        f"**Thumbnails are shown to do worse in {worse or 'none'} of {pairs} with reuse within {near}, and better "
        f"in {better or 'none'}.**"
    )


def table(records: Mapping[str, Records], confidence: float = 0.95) -> pd.DataFrame:
    """The gates, thumbnails and image tokens by turns: successes, share of replans that reuse, mean age of caches.

    Points are those of thumbnails, compared with the image tokens that follow.
    """
    pairs = beside(records) | {next(iter(records)): PAIRS}
    rows = []
    for suite, one, other in [(suite, one, pair[1]) for suite, both in pairs.items() for pair in both for one in pair]:
        success = successes(records[suite], one)
        cells = {"suite": suite, "gate": tables.gate(one), "successes": f"{success.sum()} of {len(success)}"}
        gap = difference(records[suite], one, other, confidence) if one != other else None
        cells |= {"points": wording.points(gap), "replans that reuse": text.percent(reuse_share(records[suite], one))}
        rows.append(cells | {"mean age": f"{mean_age(records[suite], one):.1f}"})
    return pd.DataFrame(rows).set_index("suite").rename_axis(index=None, columns="suite")
