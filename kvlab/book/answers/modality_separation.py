"""What *Modality separation* says and tabulates, out of each suite's records and comparisons of them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import fresh_state
from kvlab.book.answers.fresh_state import PREFIX
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import cost, margins, summary
from kvlab.pi0.cache import LANGUAGE, STATE
from kvlab.reuse import parse_mode
from kvlab.reuse.modes import KEPT
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
ALIKE = 0.05  # costs that differ by so much, as a share, count as equal
NEW_IMAGES, KEPT_IMAGES = "vision_only:splice", "vision_only:skip"


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


def bearable(compared: pd.DataFrame, margin: float) -> Setting:
    """Of the settings of `prefix` not shown to lose `margin` the one that reuses most; else the one that reuses least.

    ValueError: there is none of `prefix`.
    """
    mine = compared[[setting.mode == PREFIX for setting in compared.index]]
    if mine.empty:
        raise ValueError("this chapter is about `prefix`: name it among the modes")
    kept = [s for s in mine.index if margins.loss(mine.difference[s], margin) != margins.OUTSIDE]
    return mine.loc[kept].reuse.astype(float).idxmax() if kept else mine.reuse.astype(float).idxmin()


def findings(
    compared: Mapping[str, pd.DataFrame],
    gained: Mapping[str, pd.DataFrame],
    timed: Mapping[str, pd.DataFrame],
    records: Mapping[str, Records],
    margin: float,
    times: Latency,
    second: Mapping[str, SecondSeed],
) -> list[str]:
    """The chapter's answer; `compared` by `summary.compare`, the others as `fresh_state` has them; `second` by suite.

    `margin` is the loss of success that matters, in (0, 1). What was not run is not spoken of.
    """
    first = next(iter(compared))
    moments = filter(None, [fresh_state.moments(timed), at_equal_cost(compared, records, times)])
    said = [
        fresh_state.state(gained),
        " ".join(moments),
        instruction(compared[first], records[first], first),
        " ".join([prefix(compared, records, margin, times), *again(compared, margin, second)]),
    ]
    return [*filter(None, said)]


def at_equal_cost(compared: Mapping[str, pd.DataFrame], records: Mapping[str, Records], times: Latency) -> str:
    """`prefix` by a clock compared with behind the image gate that takes about as much inference per control step.

    Of each suite the two that are closest in cost; nothing of one where they are further apart than `ALIKE`.
    """
    told, gains = [], []
    for suite, table in compared.items():
        mine = [setting for setting in table.index if setting.mode == PREFIX]
        ms = cost.savings(records[suite], mine, NO_REUSE, times).ms_step if mine else {}
        pairs = [(a, b) for a in mine for b in mine if fresh_state.by_clock(a) and not fresh_state.by_clock(b)]
        clock, gate = min(pairs, key=lambda pair: abs(ms[pair[0]] / ms[pair[1]] - 1), default=(NO_REUSE, NO_REUSE))
        if clock == NO_REUSE or abs(ms[clock] / ms[gate] - 1) > ALIKE:
            continue
        gains.append(summary.difference(records[suite], clock, gate))
        told.append(f"in `{suite}` {clock.gate} solves {text.difference(gains[-1], f'behind {tables.gate(gate)}')}")
    if not told:
        return ""
    lead = "At equal cost the clock does better, since an image gate encodes the images"
    alike = "At about equal inference per control step"
    return f"{lead if all(gain.low > 0 for gain in gains) else alike}: {'; '.join(told)}."


def again(compared: Mapping[str, pd.DataFrame], margin: float, second: Mapping[str, SecondSeed]) -> list[str]:
    """What a second seed says of the settings that `prefix` has by the first under the margin, where it is recorded."""
    told = []
    for suite, table in compared.items():
        setting = _turns(table, margin).get(f"under {100 * margin:g}")
        if setting and suite in second and second[suite].of(setting).verdict not in (None, margins.INSIDE):
            missing = second[suite].of(setting).missing
            told.append(f"With {tables.gate(setting)}, {missing}.")
    return told


def words(compared: pd.DataFrame) -> tuple[Setting, Setting] | None:
    """The same kept images with the instruction computed from new images and from kept ones, where most is reused."""
    gates = [[s.gate for s in compared.index if s.mode == mode] for mode in (NEW_IMAGES, KEPT_IMAGES)]
    both = [gate for gate in gates[0] if gate in gates[1]]
    if not both:
        return None
    gate = max(both, key=lambda gate: compared.reuse[Setting(NEW_IMAGES, gate)])
    return Setting(NEW_IMAGES, gate), Setting(KEPT_IMAGES, gate)


def instruction(compared: pd.DataFrame, records: Records, suite: str) -> str | None:
    """Whether the instruction's cache goes stale with the images that it has read; None where that was not run."""
    if (pair := words(compared)) is None:
        return None
    new, kept = pair
    gap = summary.difference(records, new, kept)
    lead = "The instruction carries the images" if gap.low > 0 else "That the instruction carries images is not shown"
    return (
        f"**{lead}.** In `{suite}`, with the images kept (`vision_only`, {tables.gate(new)}) and the instruction "
        f"computed from new ones {compared.k[new]} of {text.count(compared.n[new], 'episode')} succeed: "
        f"{text.difference(gap, 'with it computed from the kept ones')}. That saves no time."
    )


def prefix(compared: Mapping[str, pd.DataFrame], records: Mapping[str, Records], margin: float, times: Latency) -> str:
    """What keeping images and instruction loses behind image gates, and what it saves at the most that is bearable.

    Nothing of the saving where no episode is solved both with and without reuse.
    """
    points = f"{100 * margin:g}"
    answer = {f"under {points}": "no", "open": "open", "loses": "a loss, its size open,", f"over {points}": "yes"}
    leads = []
    for suite, table in compared.items():
        turns = [f"{answer[said]} at {text.percent(table.reuse[one])}" for said, one in _turns(table, margin).items()]
        leads.append(f"`{suite}`: {', '.join(turns)} of replans.")
    first = next(iter(compared))
    setting = bearable(_looking(compared[first]), margin)
    said = (
        f"With {tables.gate(setting)} in `{first}` it solves "
        f"{text.difference(compared[first].difference[setting], 'without reuse', margin)}."
    )
    if ratio := cost.inference_ratio(records[first], setting, NO_REUSE, times):
        said += (
            f" An episode that both solve takes {ratio.estimate:.2f} times the inference without reuse "
            f"({ratio.low:.2f} to {ratio.high:.2f}; {times.name})."
        )
    return (
        f"**Does `prefix` lose over {points} points behind image gates? {' '.join(leads)}** {said} More in "
        "[What it saves](saves.ipynb)."
    )


def _looking(compared: pd.DataFrame) -> pd.DataFrame:
    return compared[[not fresh_state.by_clock(setting) for setting in compared.index]]


def _turns(compared: pd.DataFrame, margin: float) -> dict[str, Setting]:
    """Of `prefix` behind image gates by the word on its loss (`margins.word`), from least to most reuse.

    Of those with a word the setting that reuses most; of those shown to lose over `margin` the one that reuses least.
    """
    mine = _looking(compared[[setting.mode == PREFIX for setting in compared.index]]).astype({"reuse": float})
    judged = mine.difference.map(lambda one: margins.word(one, margin))
    most = {word: shares.idxmax() for word, shares in mine.reuse.groupby(judged)}
    if (over := f"over {100 * margin:g}") in most:
        most[over] = mine.reuse[judged == over].idxmin()
    return dict(sorted(most.items(), key=lambda one: mine.reuse[one[1]]))


def _mode(name: str, times: Latency) -> dict[str, str]:
    mode, setting = parse_mode(name), Setting(name, "vision >= -1")
    kept = KEPT[mode.name]
    how = "kept in half of the layers" if mode.name == "layer_wise" else "kept"
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
