"""What *Predicting reuse* says: shares of reuse as predicted from recorded signals, held against those measured."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import drift, prediction, wording
from kvlab.evidence.rows import of_setting
from kvlab.evidence.summary import first
from kvlab.study.records import Records
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")
FAMILIES = {  # in the look of a mode or gate, by what a gate has in its text
    "replan before": ("@previous", "previous"),
    "phase": (" if ", "adaptive"),
    "age limit": ("age <", "every"),
    "robot state": ("state", "state"),
}
PLAIN = "images"
OPPOSED = (
    "Images older than one replan pass less often than predicted; once no reuse had finished the episode, reuse is "
    "allowed more often. "
)


def family(setting: Setting) -> str:
    """What a gate adds to a threshold on the images; `images` where that is all."""
    return next((name for name, (part, _) in FAMILIES.items() if part in setting.gate), PLAIN)


def named(setting: Setting) -> str:
    """A gate in the figure, short: what it compares and its threshold, or by which phase it changes that."""
    said = tables.gate(setting)
    return f"by {said.split(' by ')[1]}" if family(setting) == "phase" else said.replace("images of the ", "")


def look(name: str) -> str:
    """The name of a family's look in `plots`."""
    return "full" if name == PLAIN else FAMILIES[name][1]


def predicted(records: Mapping[str, Records], settings: Mapping[str, Sequence[Setting]]) -> pd.DataFrame:
    """`prediction.leave_one_out` of each suite's settings; with `family`, and `error` (predicted minus measured)."""
    found = pd.concat(
        {suite: prediction.leave_one_out(records[suite], mine, NO_REUSE) for suite, mine in settings.items()},
        names=["suite"],
    )
    found["family"] = [family(setting) for _, setting in found.index]
    return found.assign(error=found["control"] - found["measured"].map(lambda share: share.estimate))


def by_gate(found: pd.DataFrame) -> pd.DataFrame:
    """The table of `predicted`: shares in percent, one row per suite and gate."""
    return pd.DataFrame(
        {
            "predicted": found["control"].map(_percent).to_list(),
            "measured": found["measured"].map(wording.percent).to_list(),
            "error, points": found["error"].map(lambda e: f"{100 * e:+z.0f}").to_list(),
            "replayed": found["looser"].map(_percent, na_action="ignore").fillna("").to_list(),
        },
        index=pd.MultiIndex.from_tuples([(suite, tables.gate(setting)) for suite, setting in found.index]),
    ).rename_axis(index=[None, None], columns="gate")


def by_family(found: pd.DataFrame) -> pd.DataFrame:
    """How far predictions miss, in points, by what the gates compare."""
    size = 100 * found["error"].abs()
    rows = size.groupby(found["family"], sort=False).agg(["size", "mean", "max"])
    return (
        rows.assign(**{name: rows[name].map("{:.0f}".format) for name in ("mean", "max")})
        .set_axis(["gates", "mean miss, points", "largest miss, points"], axis=1)
        .rename_axis(index=None, columns="the gate adds")
    )


def cancelling(loop: pd.DataFrame) -> pd.DataFrame:
    """The table of `drift.loop`: shares of replans in percent, one row per plain image gate."""
    columns = {
        "older images pass": loop["old"],
        "those before would": loop["step"],
        "reuse until no reuse finished": loop["within"],
        "after": loop["after"],
    }
    shown = {name: shares.map(_percent, na_action="ignore").fillna("") for name, shares in columns.items()}
    return pd.DataFrame(shown).rename(index=tables.gate).rename_axis(index=None, columns="gate")


def headline(found: pd.DataFrame, tolerance: float) -> str:
    """The title of the figure."""
    reach, _ = within(found, tolerance)
    if not reach:
        return "Recorded signals do not predict how often image gates reuse with everything kept"
    return f"With everything kept, signals predict the reuse of image gates, up to {text.percent(reach)} of replans"


def within(found: pd.DataFrame, tolerance: float) -> tuple[float, int]:
    """The measured share up to which every plain image gate is predicted within `tolerance`, and how many these are."""
    plain = found[found["family"] == PLAIN]
    shares = plain["measured"].map(lambda share: share.estimate)
    missed = shares[plain["error"].abs() > tolerance].min()  # missing where none is
    near = shares[~(shares >= missed)]
    return (float(near.max()), len(near)) if len(near) else (0.0, 0)


def findings(
    found: pd.DataFrame,
    records: Mapping[str, Records],
    share: float,
    tolerance: float,
    loop: pd.DataFrame,
    less: pd.DataFrame | None = None,
) -> list[str]:
    """The chapter's answer. `found`: `predicted`; `loop`: `drift.loop` of the first suite's plain image gates; `less`:
    `predicted` of image gates that keep less, of one mode, where any is recorded.
    """
    return [
        _choose(found, records, share),
        f"{_well(found, tolerance)}{'' if less is None else _less(less, tolerance)}",
        _worst(found, tolerance),
        _why(loop),
    ]


def drifted(records: Records, matched: pd.DataFrame) -> str:
    """The title of the figure of drift: one gate on the replan before and its partner, a row of `drift.matched`."""
    table = drift.kept(records, [matched.index[0], matched["partner"].iloc[0]])
    previous, anchored = table["vision"]
    return (
        "Behind a gate on the replan before, kept caches drift farther"
        if previous < anchored
        else "Behind a gate on the replan before, kept caches drift no farther"
    )


def pilot(found: pd.DataFrame, records: Mapping[str, Records], sizes: Sequence[int] = (3, 20)) -> pd.DataFrame:
    """How far the plain image gates are missed at most where only the first episodes are recorded without reuse."""
    plain = found[found["family"] == PLAIN]
    recorded = min(len(of_setting(rows.episodes, NO_REUSE)) for rows in records.values())
    missed = {}
    for size in [size for size in sizes if size < recorded]:
        few = {suite: first(rows, size) for suite, rows in records.items()}
        early = [prediction.from_control(few[suite], NO_REUSE, setting.gate) for suite, setting in plain.index]
        missed[size] = 100 * (early - plain["measured"].map(lambda share: share.estimate)).abs().max()
    missed[recorded] = 100 * plain["error"].abs().max()
    shown = {text.count(size, "episode"): f"{points:.0f}" for size, points in missed.items()}
    return pd.DataFrame({"largest miss, points": shown}).rename_axis(columns="signals of")


def _choose(found: pd.DataFrame, records: Mapping[str, Records], share: float) -> str:
    suite, rows = next(iter(records.items()))
    threshold = prediction.threshold(rows, NO_REUSE, share)
    plain = found.loc[suite][lambda table: table["family"] == PLAIN]
    nearest = min(plain.index, key=lambda setting: abs(float(setting.gate.split(">= ")[1]) - threshold))
    measured = plain["measured"][nearest]
    return (
        "**Read the threshold off your own signals: how similar the images of each replan are to those before, "
        f"recorded without reuse.** In `{suite}` {text.percent(share)} of replans are at {threshold:.3f} or above, so "
        f"this threshold should reuse as often. The nearest one that was run, {tables.gate(nearest)}, reused at "
        f"{text.percent(measured.estimate)} ({100 * measured.low:.0f} to {100 * measured.high:.0f})."
    )


def _well(found: pd.DataFrame, tolerance: float) -> str:
    reach, many = within(found, tolerance)
    plain = found[found["family"] == PLAIN]
    points, suites = f"{100 * tolerance:.0f} points", text.listed([f"`{suite}`" for suite in plain.index.unique(0)])
    if not many:
        return (
            "**It is not predicted well.** With everything kept, not even the strictest image gate is predicted within "
            f"{points}."
        )
    rest = len(plain) - many
    beyond = (
        f" Of {text.count(rest, 'looser gate')} the worst is missed by {100 * plain['error'].abs().max():.0f} points."
        if rest
        else ""
    )
    return (
        f"**With everything kept, plain image gates are predicted within {points}, up to {text.percent(reach)} of "
        f"replans.** That holds for {many} of {text.count(len(plain), 'threshold')} in {suites}.{beyond}"
    )


def _less(less: pd.DataFrame, tolerance: float) -> str:
    """How well the same is predicted of a mode that keeps less, and whether it reuses more or less than predicted."""
    (mode,) = {setting.mode for _, setting in less.index}
    near, errors = int((less["error"].abs() <= tolerance).sum()), less["error"]
    sides = {"too high": (errors > 0).all(), "too low": (errors < 0).all()}
    side = "".join(f", and every prediction was {one}" for one, so in sides.items() if so)
    return (
        f" With {tables.KEPT[mode].replace(', ', ' and ')} kept, {near or 'none'} of "
        f"{text.count(len(less), 'threshold')} {'are' if near > 1 else 'is'}; the worst misses by "
        f"{100 * errors.abs().max():.0f} points{side}."
    )


def _worst(found: pd.DataFrame, tolerance: float) -> str:
    others = found[found["family"] != PLAIN]
    if others.empty:
        return "**Other gates were not tried.** All of these compare the images with those of the last computed replan."
    (_, setting) = worst = others["error"].abs().idxmax()
    row = others.loc[worst]
    wrong, limited = others["error"].abs() > tolerance, others.index.map(lambda one: "age <" in one[1].gate)
    missed = [
        f"{some.sum()} of {text.count(len(some), 'gate')} that use{'s' * (len(some) == 1)} the {name}"
        for name, some in wrong.groupby(others["family"], sort=False)
        if some.any()
    ]
    lead = f"It fails for {text.listed(missed)}" if missed else "Other gates are predicted as well"
    young = " None that it fails for has an age limit." if missed and limited.any() and not wrong[limited].any() else ""
    return (
        f"**{lead}.** The largest miss is that of {tables.gate(setting)}: {text.percent(row['control'])} predicted, "
        f"{text.percent(row['measured'].estimate)} measured.{young}"
    )


def _why(loop: pd.DataFrame) -> str:
    loosest = loop["old"].idxmax()
    row = loop.loc[loosest]
    opposed = row["old"] < row["step"] and row["after"] > row["within"]
    lead = "Two errors cancel, until one of them wins" if opposed else "The errors do not cancel"
    return (
        f"**{lead}.** {OPPOSED if opposed else ''}With {tables.gate(loosest)} the gate allows reuse at "
        f"{text.percent(row['within'])} of replans until no reuse had finished the episode, at "
        f"{text.percent(row['after'])} after."
    )


def _percent(share: float) -> str:
    return f"{100 * share:z.0f}"
