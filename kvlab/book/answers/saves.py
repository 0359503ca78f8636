"""What *What it saves* says: what reuse and other levers save over whole episodes, and what a faster program saves."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import programs
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import frontier, margins, wording
from kvlab.evidence.cost import CONTROL_STEP_MS, cost, inference_ratio
from kvlab.evidence.rows import successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.wording import points
from kvlab.reuse.modes import CHUNKS
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
NONE = "nothing that is shown"
COMPARED, AGAIN = "points, first seed", "loss, second seed"  # of success
REPLANS = {  # one replan, by what it keeps: (a setting, whether its gate allows reuse); not named, gates on thumbnails
    "nothing": ("none", False),
    "nothing, while the gate compares images": ("full when vision >= 0.98", False),
    "nothing, while the gate is verify": ("full when verify <= 0.1", False),
    "everything, gate on images": ("full when vision >= 0.98", True),
    "everything, gate on thumbnails": ("full when pixels >= 0.98", True),
    "images and instruction, gate on images": ("prefix when vision >= 0.98", True),
    "images and instruction, gate on thumbnails": ("prefix when pixels >= 0.98", True),
    "images and instruction, by a clock": ("prefix when every(2)", True),
    "images, gate on images": ("vision_only:skip when vision >= 0.98", True),
    "images, gate on thumbnails": ("vision_only:skip when pixels >= 0.98", True),
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
    "images and instruction, by a clock, 2 denoising steps": ("prefix when every(2) steps=2", True),
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


KINDS = {"reused cache": only_reuses, "kept chunk": only_keeps_the_chunk, "lever": anything}


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
    """The title of the figure: what reuse, and any lever, saves inside the margin in each suite; the first machine."""
    each = {
        suite: " and ".join(next(iter(_saved(table, kind).values()), NONE) for kind in (only_reuses, anything))
        for suite, table in bought.items()
    }
    return (
        f"With a loss under {100 * margin:.0f} points by the first seed a reused cache and the best lever save "
        f"{'; '.join(f'{saved} in {suite}' for suite, saved in each.items())} ({_first(bought).upper()})"
    )


def findings(
    ways: pd.DataFrame,
    bought: Mapping[str, pd.DataFrame],
    records: Mapping[str, Records],
    again: Mapping[str, SecondSeed],
    machines: Mapping[str, Latency],
    margin: float,
    confidence: float,
) -> list[str]:
    """The answer. `ways` is of `programs.recorded`, `bought` and `again` by suite."""
    return [
        programs.finding(ways),
        _usable(bought, again, margin),
        _episodes(bought, records, next(iter(machines.values())), confidence),
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
            "solved episode, % of no reuse": wording.of_100(ratio) if ratio else "too few solved",
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


def best(bought: Mapping[str, pd.DataFrame], again: Mapping[str, SecondSeed], margin: float) -> pd.DataFrame:
    """A row for each suite and kind: the setting that saves most inside the margin, how much on each machine, and its
    difference of success by the first seed, in points. Of the second, whether the loss is inside the margin too.
    """
    five, rows = f"{100 * margin:g}", []
    verdicts = {margins.INSIDE: f"under {five}", margins.OUTSIDE: f"over {five}", margins.UNDECIDED: "open"}
    for suite, table in bought.items():
        for name, kind in KINDS.items():
            if (setting := _cheapest(table, kind)) is None:
                rows.append({"best": name, "suite": suite, "setting": NONE})
                continue
            saved = {f"saves, {machine}": share for machine, share in _saved(table, kind).items()}
            solves = {COMPARED: points(table.loc[setting, (suite, "difference")], margin)}
            solves[AGAIN] = verdicts.get(again[suite].of(setting).verdict, "not recorded")
            rows.append({"best": name, "suite": suite, "setting": tables.lever(setting), **saved, **solves})
    return tables.headed(rows).fillna("")


def _usable(bought: Mapping[str, pd.DataFrame], again: Mapping[str, SecondSeed], margin: float) -> str:
    """What a reused cache and what a kept chunk save inside the margin, in each suite, on the first machine, and of
    how many a second seed shows so small a loss.
    """
    leads, seen = [], {}
    for name in ("reused cache", "kept chunk"):
        chosen = {suite: _cheapest(table, KINDS[name]) for suite, table in bought.items()}
        seen |= {f"{name}, `{suite}`": again[suite].of(one).verdict for suite, one in chosen.items() if one}
        saved = {suite: _saved(table, KINDS[name]) for suite, table in bought.items()}
        leads.append([f"{next(iter(one.values()), NONE)} in `{suite}`" for suite, one in saved.items()])
    left = _least(pd.concat([_only(table, only_reuses) for table in bought.values()]))
    least = f" No cache here by itself leaves less than {_each(left)}, whatever it loses." if left else ""
    cache, chunk = map(text.listed, leads)
    return (
        f"**With a loss that the first seed shows to be under {100 * margin:.0f} points, the best reused cache listed "
        f"here saves {cache}, and the best kept chunk {chunk}.** That is of the inference per control step "
        f"({_first(bought).upper()}).{_confirmed(seen)}{least}"
    )


def _confirmed(seen: Mapping[str, str | None]) -> str:
    """Of how many settings, by their names, the verdict of the second seed is a loss inside the margin."""
    shown = [name for name, verdict in seen.items() if verdict == margins.INSIDE]
    which = f" ({'; '.join(shown)})" if shown else ""
    return f" A second seed confirms {len(shown) or 'none'} of {len(seen)}{which}." if seen else ""


def _episodes(bought: Mapping[str, pd.DataFrame], records, times: Latency, confidence: float) -> str:
    """In how many suites and settings a reused cache by itself is shown to make a solved episode cheaper, or dearer."""
    found = {
        (suite, setting): ratio
        for suite, table in bought.items()
        for setting in _only(table, only_reuses).index
        if (ratio := inference_ratio(records[suite], setting, NO_REUSE, times, confidence))
    }
    if not found:
        return "**No reused cache has enough solved episodes to compare.**"
    cheaper = sum(ratio.high < 1 for ratio in found.values())
    dearer = sum(ratio.low > 1 for ratio in found.values())
    return (
        f"**A solved episode is shown to take less inference with a cache reused and nothing else changed in "
        f"{cheaper or 'none'} of {text.count(len(found), 'row')}, more in {dearer or 'none'}.** "
        "A row is a setting in one suite."
    )


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
        f"**{lead}.** Without reuse inference takes on average {text.listed(shares)} of its {limit}. "
        f"A replan that computes takes {waits}: reuse shortens the mean and not the longest wait "
        "([In real time](real_time.ipynb))."
    )


def _first(bought: Mapping[str, pd.DataFrame]) -> str:
    """The machine whose times order the settings."""
    return next(column[0] for column in next(iter(bought.values())).columns if column[1] == "of_control")


def _only(table: pd.DataFrame, kind: Callable[[Setting], bool]) -> pd.DataFrame:
    return table[[kind(setting) for setting in table.index]]


def _cheapest(table: pd.DataFrame, kind: Callable[[Setting], bool]) -> Setting | None:
    """Of one kind the cheapest that is inside the margin and saves anything."""
    costs = table[next(column for column in table.columns if column[1] == "of_control")]
    return frontier.cheapest(_only(table[costs < 1], kind))


def _saved(table: pd.DataFrame, kind: Callable[[Setting], bool]) -> dict[str, str]:
    """What the cheapest of one kind saves inside the margin, by machine; nothing where there is none."""
    setting = _cheapest(table, kind)
    costs = {} if setting is None else table.loc[setting].xs("of_control", level=1).to_dict()
    return {machine: text.percent(1 - share) for machine, share in costs.items()}


def _least(table: pd.DataFrame) -> dict[str, str]:
    """On each machine the least inference per control step over no reuse's; nothing where there is no setting."""
    return table.xs("of_control", axis=1, level=1).min().map(text.percent).to_dict() if len(table) else {}


def _each(shares: Mapping[str, str]) -> str:
    """`6 % (CPU) and 9 % (H100)`; empty where there is none."""
    return text.listed([f"{share} ({machine.upper()})" for machine, share in shares.items()]) if shares else ""
