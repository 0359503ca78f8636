"""What *Modality separation* says at equal reuse: a fresh robot state, and an image gate, each compared with its like.

Gains are of `matching.matched`, by suite: of modes behind image gates, compared with `full` behind image gates; and of
`prefix` by clocks, compared with `prefix` behind image gates.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import summary
from kvlab.evidence.rows import recorded
from kvlab.evidence.stats import Interval
from kvlab.evidence.wording import points
from kvlab.study.records import Records
from kvlab.study.settings import Setting

PREFIX = "prefix"
SameClock = Mapping[tuple[Setting, Setting], Interval]


def clocks(records: Mapping[str, Records], confidence: float) -> dict[str, SameClock]:
    """By suite: `prefix` compared with `full` by the same clock, where both are recorded."""
    return {suite: _same_clock(rows, confidence) for suite, rows in records.items()}


def by_clock(setting: Setting) -> bool:
    """Whether the gate looks at nothing."""
    return setting.gate.startswith("every(")


def headline(gained: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure: where a fresh robot state is shown to solve more behind image gates."""
    found = {suite: _sides(gains) for suite, table in gained.items() if (gains := _of_prefix(table))}
    better = [suite for suite, (more, _, _) in found.items() if more]
    if not better or any(fewer for _, fewer, _ in found.values()):
        return "That at equal reuse a fresh robot state (prefix) solves more is not shown throughout"
    where = "" if len(better) == len(found) else f" in {text.listed(better)}"
    frequent = all(_reuse(neither, max) < _reuse(more, min) for more, _, neither in found.values() if more and neither)
    return f"At equal reuse a fresh robot state (prefix) solves more{where}{' where reuse is frequent' * frequent}"


def state(gained: Mapping[str, pd.DataFrame]) -> str | None:
    """What keeping images and instruction with a fresh robot state is worth, compared with keeping everything.

    Pairs by one clock, and modes that keep the robot state alone, stand in `differences`.
    """
    found = {suite: gains for suite, table in gained.items() if (gains := _of_prefix(table))}
    if not found:
        return None
    sides = {suite: _sides(gains) for suite, gains in found.items()}
    each = [_by_share(suite, *sides[suite]) for suite in found]
    return f"**{_lead(sides)}.** `prefix` is compared with `full` behind image gates, at equal reuse. {' '.join(each)}"


def moments(timed: Mapping[str, pd.DataFrame]) -> str | None:
    """What `prefix` loses by a clock, compared with image gates at equal reuse: the clearest clock of each suite."""
    found = {suite: gains for suite, table in timed.items() if (gains := _of_prefix(table))}
    if not found:
        return None
    sides = {suite: _sides(gains) for suite, gains in found.items()}
    clearest = {suite: max(gains, key=lambda one: max(one[2].low, -one[2].high)) for suite, gains in found.items()}
    each = [
        f"In `{suite}` `prefix` by {clock.gate}, at {text.percent(share)} of replans, solves "
        f"{text.difference(gain, 'behind image gates')}."
        for suite, (clock, share, gain) in clearest.items()
    ]
    return f"**{_than_clocks(sides)}.** {' '.join(each)}"


def differences(
    gained: Mapping[str, pd.DataFrame],
    timed: Mapping[str, pd.DataFrame],
    apart: Mapping[str, SameClock],
) -> pd.DataFrame:
    """Differences in points: `matched` of each suite where it has a gain, and pairs behind one gate."""
    rows = [
        (suite, setting.mode, tables.gate(setting), text.percent(row.reuse), f"{than}, equal reuse", row.gain)
        for found, than in ((gained, "full behind image gates"), (timed, "prefix behind image gates"))
        for suite, table in found.items()
        for setting, row in table.sort_values("reuse").iterrows()
        if row.gain is not None
    ]
    rows += [
        (suite, one.mode, tables.gate(one), "", f"{other.mode}, same gate", gap)
        for suite, pairs in apart.items()
        for (one, other), gap in pairs.items()
    ]
    table = pd.DataFrame(rows, columns=["suite", "mode", "gate", "replans that reuse", "compared with", "points"])
    table["points"] = table.points.map(points)
    return table.set_index("suite").rename_axis(index=None, columns="suite")


def _same_clock(records: Records, confidence: float) -> SameClock:
    known = recorded(records)
    pairs = [(one, Setting("full", one.gate)) for one in known if one == Setting(PREFIX, one.gate) and by_clock(one)]
    return {pair: summary.difference(records, *pair, confidence) for pair in pairs if pair[1] in known}


Gain = tuple[Setting, float, Interval]  # with the share of replans that reuse


def _of_prefix(table: pd.DataFrame) -> list[Gain]:
    """The gains of `prefix` that the curve reaches, from least to most reuse."""
    rows = table.sort_values("reuse").iterrows()
    return [(one, row.reuse, row.gain) for one, row in rows if one.mode == PREFIX and row.gain is not None]


def _sides(gains: Sequence[Gain]) -> tuple[list[Gain], list[Gain], list[Gain]]:
    """Those that are shown to solve more, those shown to solve fewer, and the others."""
    more, fewer = [one for one in gains if one[2].low > 0], [one for one in gains if one[2].high < 0]
    return more, fewer, [one for one in gains if one not in more + fewer]


def _lead(sides: Mapping[str, tuple[list[Gain], list[Gain], list[Gain]]]) -> str:
    better = [f"`{suite}`" for suite, (more, _, _) in sides.items() if more]
    if any(fewer for _, fewer, _ in sides.values()):
        return "Whether to keep the robot state depends on suite and reuse" if better else "Keep the robot state too"
    if not better:
        return "Whether to keep the robot state is open"
    return "Keep images and instruction, not the robot state" + (
        "" if len(better) == len(sides) else f": in {text.listed(better)} that is shown to solve more"
    )


def _than_clocks(sides: Mapping[str, tuple[list[Gain], list[Gain], list[Gain]]]) -> str:
    """What the gains of clocks, compared with image gates, say of the gates."""
    fewer = [f"`{suite}`" for suite, (_, worse, _) in sides.items() if worse]
    more = [f"`{suite}`" for suite, (better, _, _) in sides.items() if better]
    if fewer and more:
        return "Whether an image gate does better than a clock that reuses as often depends on the suite"
    if not fewer:
        than = (
            "A clock does better than an image gate" if more else "Image gates are not shown to do better than a clock"
        )
        return f"{than} that reuses as often"
    others = [f"`{suite}`" for suite in sides if f"`{suite}`" not in fewer]
    where = f" in {text.listed(fewer)}; in {text.listed(others)} that is not shown of the clocks here" if others else ""
    return f"An image gate does better than a clock that reuses as often{where}"


def _by_share(suite: str, more: list[Gain], fewer: list[Gain], neither: list[Gain]) -> str:
    """At which shares which side is shown, and the effect at the least share of the first side that is."""
    shown = [f"{word} at {_shares(gains)}" for word, gains in (("more", more), ("fewer", fewer)) if gains]
    said = [f"it is shown to solve {text.listed(shown)} of replans"] * bool(shown)
    said += [f"no difference is shown at {_shares(neither)}"] * bool(neither)
    _, share, gain = (more or fewer or neither)[0]
    return f"In `{suite}` {', and '.join(said)}: at {text.percent(share)}, {text.difference(gain, '`full`')}."


def _reuse(gains: Sequence[Gain], which: Callable) -> float:
    """The most or the least share of replans that reuse."""
    return which(share for _, share, _ in gains)


def _shares(gains: Sequence[Gain]) -> str:
    return f"{text.listed([f'{100 * share:.0f}' for _, share, _ in gains])} %"
