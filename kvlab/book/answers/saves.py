"""What *What it saves* says: what reuse and other levers save over whole episodes, and what a faster program saves."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import programs
from kvlab.evidence import frontier
from kvlab.evidence.cost import CONTROL_STEP_MS, cost, inference_ratio
from kvlab.evidence.rows import successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.wording import percent
from kvlab.reuse.modes import CHUNKS
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
REPLANS = {  # one replan, by what it keeps: (a setting, whether its gate allows reuse)
    "nothing": ("none", False),
    "nothing, while the gate compares images": ("full when vision >= 0.98", False),
    "nothing, while the gate asks the expert": ("full when verify <= 0.1", False),
    "everything, gate on images": ("full when vision >= 0.98", True),
    "everything, gate on thumbnails": ("full when pixels >= 0.98", True),
    "images and instruction": ("prefix when pixels >= 0.98", True),
    "images": ("vision_only:skip when pixels >= 0.98", True),
    "instruction from the start, images": ("text_fixed:skip when pixels >= 0.98", True),
    "robot state": ("state_only:skip when pixels >= 0.98", True),
    "upper half of the layers": ("layer_wise[9:]:skip when pixels >= 0.98", True),
    "single image tokens, skipped": ("tokens:skip when pixels >= 0.98", True),
    "single image tokens, spliced": ("tokens:splice when pixels >= 0.98", True),
    "single image tokens, fused": ("tokens:fuse when pixels >= 0.98", True),
    "the chunk, gate on images": ("chunk when vision >= 0.98", True),
    "the chunk, by a clock": ("chunk when every(2)", True),
    "nothing, 5 denoising steps": ("none steps=5", False),
    "nothing, 2 denoising steps": ("none steps=2", False),
    "nothing, 1 denoising step": ("none steps=1", False),
    "images and instruction, 2 denoising steps": ("prefix when pixels >= 0.98 steps=2", True),
}


def only_reuses(setting: Setting) -> bool:
    """Is reuse of the cache all that is changed?"""
    return _plain(setting) and setting.mode not in ("none", *CHUNKS)


def only_keeps_the_chunk(setting: Setting) -> bool:
    """Is it all that is changed that the old chunk is executed on?"""
    return _plain(setting) and setting.mode == "chunk"


def anything(_: Setting) -> bool:
    """Any setting, whatever it changes."""
    return True


def _plain(setting: Setting) -> bool:
    return setting.denoising_steps is None and setting.execute is None


def bought(
    records: Mapping[str, Records],
    settings: Mapping[str, Sequence[Setting]],
    machines: Mapping[str, Latency],
    margin: float,
    confidence: float,
) -> dict[str, pd.DataFrame]:
    """`frontier.within_margin` of each suite by itself, with all that is recorded in it."""
    return {
        suite: frontier.within_margin({suite: rows}, settings[suite], NO_REUSE, machines, margin, confidence)
        for suite, rows in records.items()
    }


def headline(bought: Mapping[str, pd.DataFrame], margin: float) -> str:
    """The title of the figure: what may be saved by reuse, and by any lever."""
    cache, lever = (_up_to(bought, kind) for kind in (only_reuses, anything))
    return f"With a loss under {100 * margin:.0f} points a reused cache saves {cache}, the best lever here {lever}"


def findings(
    ways: pd.DataFrame,
    version: str,
    bought: Mapping[str, pd.DataFrame],
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    margin: float,
) -> list[str]:
    """The answer. `ways` is of `peers.implementations`, `version` LeRobot's, `bought` by suite."""
    return [
        programs.finding(ways, version),
        _usable(bought, machines, margin),
        _solved(bought, records, next(iter(machines.values()))),
        _budget(records, machines),
    ]


def by_setting(
    records: Mapping[str, Records],
    settings: Mapping[str, Sequence[Setting]],
    machines: Mapping[str, Latency],
    confidence: float,
) -> pd.DataFrame:
    """A row for each suite and setting: inference per control step over no reuse's on each machine, and on the first
    that of an episode that both solve.
    """
    first = next(iter(machines.values()))

    def row(suite: str, setting: Setting) -> dict[str, str]:
        rows = records[suite]
        solved, ratio = successes(rows, setting), inference_ratio(rows, setting, NO_REUSE, first, confidence)
        step = {name: cost(setting, rows, one) / cost(NO_REUSE, rows, one) for name, one in machines.items()}
        return {
            "suite": suite,
            "successes": f"{int(solved.sum())} of {len(solved)}",
            "replans that reuse": text.percent(reuse_share(rows, setting)),
            **{f"{name}, of no reuse": text.percent(share) for name, share in step.items()},
            "solved episode, % of no reuse": percent(ratio) if ratio else "too few solved",
        }

    which = [(suite, setting) for suite, some in settings.items() for setting in some if setting != NO_REUSE]
    rows = [row(suite, setting) for suite, setting in which]
    named = [tables.lever(setting) for _, setting in which]
    return pd.DataFrame(rows, named).rename_axis(index=None, columns="setting")


def one_replan(machines: Mapping[str, Latency]) -> pd.DataFrame:
    """A replan that keeps what REPLANS names, over no reuse's on each machine."""
    rows = {}
    for kept, (written, allowed) in REPLANS.items():
        rows[kept] = {}
        for name, times in machines.items():
            try:
                share = times.replan_ms(parse_setting(written), allowed) / times.replan_ms(NO_REUSE, False)
            except ValueError:  # no time of this on that machine
                rows[kept][f"{name}, of no reuse"] = "not timed"
                continue
            rows[kept][f"{name}, of no reuse"] = text.percent(share)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=None, columns="what is kept")


def figure_rows(
    records: Records, settings: Sequence[Setting], times: Latency, confidence: float
) -> tuple[list[Setting], list[float], list[Interval]]:
    """Settings that both solve enough with, the cheapest first: cost of a control step and of a solved episode, over
    no reuse's.
    """
    reference = cost(NO_REUSE, records, times)
    found = {s: inference_ratio(records, s, NO_REUSE, times, confidence) for s in settings if s != NO_REUSE}
    step = {setting: cost(setting, records, times) / reference for setting in found if found[setting]}
    ordered = sorted(step, key=step.get)
    return ordered, [step[setting] for setting in ordered], [found[setting] for setting in ordered]


def _usable(bought, machines, margin) -> str:
    """What a reused cache and what a kept chunk may save of these settings, in each suite."""
    kinds, points = {"reused cache": only_reuses, "kept chunk": only_keeps_the_chunk}, f"{100 * margin:.0f} points"
    cache, chunk = (f"{name} saves {_up_to(bought, kind)}" for name, kind in kinds.items())
    said = []
    for suite, table in bought.items():
        chosen = {name: _cheapest(table, kind) for name, kind in kinds.items()}
        for setting in filter(None, chosen.values()):
            left = [f"{text.percent(table.loc[setting, (key, 'of_control')])} ({key.upper()})" for key in machines]
            said.append(
                f"In `{suite}` {tables.lever(setting)} takes {text.listed(left)} of the inference per control step; it "
                f"solves {text.difference(table.loc[setting, (suite, 'difference')], 'without reuse', margin)}."
            )
        if lacking := [f"a {name}" for name, setting in chosen.items() if setting is None]:
            said.append(
                f"In `{suite}` no setting with {' or '.join(lacking)} saves and is shown to lose under {points}."
            )
    left = _least([_only(table, only_reuses) for table in bought.values()])
    least = f" Whatever it loses, a reused cache by itself leaves at least {_each(left)}." if left else ""
    return f"**Of these settings, with a loss under {points}, a {cache}. A {chunk}.** {' '.join(said)}{least}"


def _solved(bought, records, times: Latency) -> str:
    """Inference to solve an episode: of the reuse that saves most, and of the cheapest lever."""
    kinds = {"a reused cache": only_reuses, "a kept chunk": only_keeps_the_chunk, "the best lever": anything}
    told, back = [], {"all": [], "a part": [], "nothing": []}
    for suite, table in bought.items():
        found = {}
        for name, kind in kinds.items():
            setting = _cheapest(table, kind)
            if setting in (None, *found) or not (ratio := inference_ratio(records[suite], setting, NO_REUSE, times)):
                continue
            step = cost(setting, records[suite], times) / cost(NO_REUSE, records[suite], times)
            lost = "nothing" if ratio.low <= step else "a part" if ratio.estimate < 1 else "all"
            back[lost].append(f"{name} in `{suite}`")
            found[setting] = (
                f"{tables.lever(setting)}: {text.percent(step)} a control step, {100 * ratio.estimate:.0f} % "
                f"({_ends(ratio)}) an episode"
            )
        told += [f"In `{suite}` {'; '.join(found.values())}."] if found else []
    if not told:
        return "**No setting within the margin saves.** So there is no episode to compare with one without reuse."
    kept = back.pop("nothing")
    lead = "; ".join(f"{much} of the saving of {text.listed(which)}" for much, which in back.items() if which)
    lead = f"Longer episodes take back {lead}" if lead else "Longer episodes are not shown to take any of it back"
    rest = " The other settings named here are not shown to lose any of theirs." if kept and any(back.values()) else ""
    return (
        f"**{lead}.**{rest} An episode here is one that both solve; its inference, as that of a control step, is in "
        f"percent of no reuse ({times.name}). {' '.join(told)}"
    )


def _ends(ratio: Interval) -> str:
    return f"{100 * ratio.low:.0f} to {100 * ratio.high:.0f}"


def _budget(records, machines) -> str:
    """What a control step has time for: on average, and for the replan that all of them wait for."""
    limit, mean, longest = f"{CONTROL_STEP_MS:.0f} ms", [], []
    for times in machines.values():
        mean.append(max(cost(NO_REUSE, rows, times) for rows in records.values()))
        longest.append(times.replan_ms(NO_REUSE, False))
    names = [times.name for times in machines.values()]
    over = [name for ms, name in zip(longest, names, strict=True) if ms > CONTROL_STEP_MS]
    lead = "A saving buys idle time where a replan already fits into a control step"
    if over:
        lead = f"On average inference fits into a control step; one replan of {text.listed(over)} does not"
    if max(mean) > CONTROL_STEP_MS:
        lead = "Inference does not fit into a control step"
    shares = [f"{text.percent(ms / CONTROL_STEP_MS)} ({name})" for ms, name in zip(mean, names, strict=True)]
    waits = text.listed([f"{ms:.0f} ms" for ms in longest])
    return (
        f"**{lead}.** Without reuse inference takes on average {text.listed(shares)} of the {limit} of a control step. "
        f"A replan that computes takes {waits}, with a cache as without: reuse shortens "
        f"the mean and not the longest wait. What waiting costs is told by [In real time](real_time.ipynb)."
    )


def _only(table: pd.DataFrame, kind: Callable[[Setting], bool]) -> pd.DataFrame:
    return table[[kind(setting) for setting in table.index]]


def _cheapest(table: pd.DataFrame, kind: Callable[[Setting], bool]) -> Setting | None:
    """Of one kind the cheapest that is inside the margin and saves anything."""
    costs = table[next(column for column in table.columns if column[1] == "of_control")]
    return frontier.cheapest(_only(table[costs < 1], kind))


def _up_to(bought: Mapping[str, pd.DataFrame], kind: Callable[[Setting], bool]) -> str:
    """The most that a setting of one kind saves inside the margin, in any suite, on each machine."""
    found = [_only(table[table["all", "inside"].astype(bool)], kind) for table in bought.values()]
    saved = {machine: 1 - share for machine, share in _least(found).items() if share < 1}
    return f"at most {_each(saved)}" if saved else "nothing that is shown"


def _least(found: Sequence[pd.DataFrame]) -> dict[str, float]:
    """On each machine the least inference per control step over no reuse's; nothing where there is no setting."""
    costs = pd.concat(found).xs("of_control", axis=1, level=1) if any(map(len, found)) else pd.DataFrame()
    return costs.min().to_dict()


def _each(shares: Mapping[str, float]) -> str:
    """`6 % (CPU) and 9 % (H100)`."""
    return text.listed([f"{text.percent(share)} ({machine.upper()})" for machine, share in shares.items()])
