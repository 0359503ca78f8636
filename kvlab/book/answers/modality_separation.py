"""What *Modality separation* says and tabulates, out of each suite's records and comparisons of them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import cost, margins, summary
from kvlab.evidence.rows import recorded
from kvlab.evidence.stats import Interval
from kvlab.evidence.wording import points
from kvlab.pi0.cache import LANGUAGE, STATE
from kvlab.reuse import parse_mode
from kvlab.reuse.modes import KEPT
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
PREFIX, NEW_IMAGES, KEPT_IMAGES, FROM_THE_START = "prefix", "vision_only:splice", "vision_only:skip", "text_fixed:skip"


def modes(names: Sequence[str], times: Latency) -> pd.DataFrame:
    """What each mode keeps where the gate allows reuse, and the time that a replan then saves behind an image gate."""
    return pd.DataFrame.from_dict({name: _mode(name, times) for name in names}, orient="index").rename_axis(
        index=None, columns="mode"
    )


def state_fresh(setting: Setting) -> bool:
    """Whether the robot state is fresh at every replan."""
    return STATE not in KEPT[parse_mode(setting.mode).name]


def ordered(compared: pd.DataFrame, settings: Sequence[Setting]) -> list[str]:
    """The modes of `settings`: those with a fresh robot state first, each group from most to fewest successes."""
    return [s.mode for s in sorted(settings, key=lambda one: (not state_fresh(one), -compared.k[one]))]


def counts(compared: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Successes and, in brackets, the share of replans that reuse: a row for each mode, a column for each gate."""
    cells = {}
    for suite, table in compared.items():
        for setting, row in table.iterrows():
            if setting != NO_REUSE:
                column = (
                    tables.gate(setting)
                    if table is next(iter(compared.values()))
                    else f"{suite}: {tables.gate(setting)}"
                )
                cells.setdefault(column, {})[setting.mode] = f"{row.k} ({text.percent(row.reuse)})"
    return pd.DataFrame(cells).fillna("").rename_axis(index=None, columns="mode")


def prefixes(compared: Mapping[str, pd.DataFrame], records: Mapping[str, Records], times: Latency) -> pd.DataFrame:
    """Every setting of `prefix`, suite by suite, compared with no reuse, with its inference per control step."""
    found = {}
    for suite, table in compared.items():
        mine = table[[setting.mode == PREFIX for setting in table.index]].sort_values("reuse")
        ms = cost.savings(records[suite], list(mine.index), NO_REUSE, times).ms_step
        found[suite] = tables.by_setting(mine, ms_per_control_step=ms.map("{:.1f}".format))
    return pd.concat(found)


def clocks(records: Mapping[str, Records], confidence: float) -> dict[str, dict[tuple[Setting, Setting], Interval]]:
    """By suite: `prefix` compared with `full` by the same clock, where both are recorded."""
    return {suite: _same_clock(rows, confidence) for suite, rows in records.items()}


def _same_clock(records: Records, confidence: float) -> dict[tuple[Setting, Setting], Interval]:
    known = recorded(records)
    pairs = [(one, Setting("full", one.gate)) for one in known if one == Setting(PREFIX, one.gate) and _by_clock(one)]
    return {pair: summary.difference(records, *pair, confidence) for pair in pairs if pair[1] in known}


def _by_clock(setting: Setting) -> bool:
    return setting.gate.startswith("every(")


def differences(
    gained: Mapping[str, pd.DataFrame], apart: Mapping[str, Mapping[tuple[Setting, Setting], Interval]]
) -> pd.DataFrame:
    """Differences in points: `matched` of each suite where it has a gain, and by suite pairs behind one gate."""
    rows = [
        (suite, setting.mode, tables.gate(setting), "full behind image gates, equal reuse", row.gain)
        for suite, table in gained.items()
        for setting, row in table.iterrows()
        if row.gain is not None
    ]
    rows += [
        (suite, one.mode, tables.gate(one), f"{other.mode}, same gate", gap)
        for suite, pairs in apart.items()
        for (one, other), gap in pairs.items()
    ]
    table = pd.DataFrame(rows, columns=["suite", "mode", "gate", "compared with", "points"])
    table["points"] = table.points.map(points)
    return table.set_index("suite").rename_axis(index=None, columns="suite")


def bearable(compared: pd.DataFrame, margin: float) -> Setting:
    """Of the settings of `prefix` not shown to lose `margin` the one that reuses most; else the one that reuses least.

    ValueError: there is none of `prefix`.
    """
    mine = compared[[setting.mode == PREFIX for setting in compared.index]]
    if mine.empty:
        raise ValueError("this chapter is about `prefix`: name it among the modes")
    kept = [s for s in mine.index if margins.loss(mine.difference[s], margin) != margins.OUTSIDE]
    return mine.loc[kept].reuse.astype(float).idxmax() if kept else mine.reuse.astype(float).idxmin()


def headline(compared: Mapping[str, pd.DataFrame], shown: Sequence[tuple[str, str]]) -> str:
    """The title of the figure, of suites and gates: successes with a fresh robot state and with everything kept."""
    each = []
    for suite, gate in shown:
        fresh, kept = (compared[suite].loc[Setting(mode, gate)] for mode in (PREFIX, "full"))
        each.append(f"{fresh.k} and {kept.k} of {fresh.n} in {suite} behind {tables.gate(fresh.name)}")
    return f"Successes with a fresh robot state (prefix) and with everything kept (full): {'; '.join(each)}"


def findings(
    compared: Mapping[str, pd.DataFrame],
    gained: Mapping[str, pd.DataFrame],
    apart: Mapping[str, Mapping[tuple[Setting, Setting], Interval]],
    records: Mapping[str, Records],
    margin: float,
    times: Latency,
) -> list[str]:
    """The chapter's answer; `compared` by `summary.compare`, `gained` by `matching.matched`, `apart` by `clocks`.

    `margin` is the loss of success that matters, in (0, 1). What was not run is not spoken of.
    """
    first = next(iter(compared))
    said = [state(compared, gained, apart, margin), instruction(compared[first], records[first])]
    return [*filter(None, said), prefix(compared, records, margin, times)]


def state(
    compared: Mapping[str, pd.DataFrame],
    gained: Mapping[str, pd.DataFrame],
    apart: Mapping[str, Mapping[tuple[Setting, Setting], Interval]],
    margin: float,
) -> str | None:
    """What keeping images and instruction with a fresh robot state is worth, compared with keeping everything."""
    found = {
        suite: [*_at_equal_reuse(table, gained[suite], margin), *_by_the_same_clock(apart.get(suite, {}))]
        for suite, table in compared.items()
    }
    found = {suite: told for suite, told in found.items() if told}
    if not found:
        return None
    helps = [
        f"in {sum(gain.low > 0 for _, _, gain in told) or 'none'} of {text.count(len(told), 'comparison')} in `{suite}`"
        for suite, told in found.items()
    ]
    each = [
        f"In `{suite}`, with {with_}, it solves {text.difference(gain, than, margin)}"
        + ("." if gain.low > 0 else f"; {margins.apart_words(gain, margin)}.")
        for suite, told in found.items()
        for with_, than, gain in told
    ]
    said = ["`prefix` keeps all but the robot state, `full` keeps everything.", *each, *_state_alone(gained)]
    return f"**A fresh robot state helps {text.listed(helps)}.** {' '.join(said)}"


def _at_equal_reuse(compared: pd.DataFrame, gained: pd.DataFrame, margin: float) -> list[tuple[str, str, Interval]]:
    """What `prefix` gains by its `bearable` image gate, and by every clock, where the curve of `full` has a match."""
    looking = compared[[not _by_clock(one) for one in compared.index]]
    clocks = [one for one in compared.index if one == Setting(PREFIX, one.gate) and _by_clock(one)]
    rows = [(one, gained.loc[one]) for one in (bearable(looking, margin), *clocks) if one in gained.index]
    return [
        (
            f"{tables.gate(one)} ({text.percent(row.reuse)} of replans)",
            "`full` behind image gates at equal reuse",
            row.gain,
        )
        for one, row in rows
        if row.gain is not None
    ]


def _by_the_same_clock(pairs: Mapping[tuple[Setting, Setting], Interval]) -> list[tuple[str, str, Interval]]:
    return [(f"{tables.gate(one)} for both", "`full`", gap) for (one, _), gap in pairs.items()]


def _state_alone(gained: Mapping[str, pd.DataFrame]) -> list[str]:
    """By suite the clearest gain of keeping nothing but the robot state: whether fresh images help as well."""
    best = {}
    for suite, table in gained.items():
        for setting, gain in table.gain.items():
            alone = gain is not None and KEPT[parse_mode(setting.mode).name] == (STATE,)
            if alone and (suite not in best or gain.low > best[suite].low):
                best[suite] = gain
    if not best:
        return []
    each = [f"{text.difference(gain, 'keeping everything')} in `{suite}`" for suite, gain in best.items()]
    helps = [f"`{suite}`" for suite, gain in best.items() if gain.low > 0]
    lead = f"Fresh images help as well in {text.listed(helps)}" if helps else "Fresh images are not shown to help"
    return [f"{lead}: `state_only` keeps nothing but the robot state, and solves {each[0]}."] + [
        f"It solves {one}." for one in each[1:]
    ]


def words(compared: pd.DataFrame) -> tuple[Setting, Setting] | None:
    """The same kept images with the instruction computed from new images and from kept ones, where most is reused."""
    gates = [[s.gate for s in compared.index if s.mode == mode] for mode in (NEW_IMAGES, KEPT_IMAGES)]
    both = [gate for gate in gates[0] if gate in gates[1]]
    if not both:
        return None
    gate = max(both, key=lambda gate: compared.reuse[Setting(NEW_IMAGES, gate)])
    return Setting(NEW_IMAGES, gate), Setting(KEPT_IMAGES, gate)


def instruction(compared: pd.DataFrame, records: Records) -> str | None:
    """Whether the instruction's cache goes stale with the images that it has read; None where that was not run."""
    if (pair := words(compared)) is None:
        return None
    new, kept = pair
    gap = summary.difference(records, new, kept)
    lead = "The instruction carries the images" if gap.low > 0 else "That the instruction carries images is not shown"
    said = (
        f"**{lead}.** Behind the gate {tables.gate(new)} both `vision_only` modes keep the same images. With the "
        f"instruction computed from new images {compared.k[new]} of {text.count(compared.n[new], 'episode')} succeed, "
        f"with it computed from the kept ones {compared.k[kept]}: {text.difference(gap, 'from kept ones')}. The first "
        "computes everything and saves no time; it only shows the cause."
    )
    fixed = compared[[s.mode == FROM_THE_START for s in compared.index]]
    if fixed.empty:
        return said
    best = fixed.k.astype(int).idxmax()
    return (
        f"{said} An instruction kept from the start (`text_fixed`) leaves {compared.k[best]} at best, behind "
        f"{tables.gate(best)}."
    )


def prefix(compared: Mapping[str, pd.DataFrame], records: Mapping[str, Records], margin: float, times: Latency) -> str:
    """What keeping images and instruction loses of success, and what it saves at the most reuse that is bearable."""
    answer = {margins.INSIDE: "no", margins.UNDECIDED: "open", margins.OUTSIDE: "yes"}
    leads, said = [], []
    for suite, table in compared.items():
        turns = _turns(table, margin)
        first, *others = (f"{answer[judged]} at {text.percent(table.reuse[one])}{{}}" for judged, one in turns.items())
        among = [first.format(" of replans"), *(other.format("") for other in others)]
        leads.append(f"`{suite}`: {', '.join(among)}.")
        said += [
            f"With {tables.gate(one)} in `{suite}` it solves "
            f"{text.difference(table.difference[one], 'without reuse', margin)}."
            for one in turns.values()
        ]
    first = next(iter(compared))
    setting = bearable(compared[first], margin)
    step = cost.savings(records[first], [setting], NO_REUSE, times).of_control.iloc[0]
    said.append(
        f"With {tables.gate(setting)} in `{first}` a control step takes {text.percent(step)} of the inference without "
        f"reuse ({times.name})"
    )
    if ratio := cost.inference_ratio(records[first], setting, NO_REUSE, times):
        said[-1] += (
            f", and an episode that both solve {ratio.estimate:.2f} times that without reuse "
            f"({ratio.low:.2f} to {ratio.high:.2f})"
        )
    lead = f"Does `prefix` lose over {100 * margin:.0f} points? {' '.join(leads)}"
    return f"**{lead}** {' '.join(said)}; see [What it saves](saves.ipynb)."


def _turns(compared: pd.DataFrame, margin: float) -> dict[str, Setting]:
    """Of `prefix` by the verdict on its loss, from least to most reuse.

    The setting that reuses most of those that do not lose `margin` and of those of which it is open, the one that
    reuses least of those that do.
    """
    mine = compared[[setting.mode == PREFIX for setting in compared.index]].astype({"reuse": float})
    judged = mine.difference.map(lambda one: margins.loss(one, margin))
    most = {verdict: shares.idxmax() for verdict, shares in mine.reuse.groupby(judged)}
    if margins.OUTSIDE in most:
        most[margins.OUTSIDE] = mine.reuse[judged == margins.OUTSIDE].idxmin()
    return dict(sorted(most.items(), key=lambda one: mine.reuse[one[1]]))


def _mode(name: str, times: Latency) -> dict[str, str]:
    mode, setting = parse_mode(name), Setting(name, "vision >= -1")
    kept = KEPT[mode.name]
    how = "kept in some layers" if mode.name == "layer_wise" else "kept"
    computed, reused = (times.replan_ms(setting, allowed) for allowed in (False, True))
    instruction = how if LANGUAGE in kept else "fresh"
    if mode.name == "text_fixed":
        instruction = "kept from the start"
    elif mode.name == "vision_only":
        instruction = f"fresh, from {'new' if mode.splice else 'kept'} images"
    return {
        "images": how if "vision" in kept else "fresh",
        "instruction": instruction,
        "robot state": "kept" if STATE in kept else "fresh",
        "saves time?": f"{computed - reused:.0f} of {computed:.0f} ms" if computed - reused >= 1 else "no",
    }
