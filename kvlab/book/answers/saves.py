"""What *What it saves* says: what reuse and other levers save over whole episodes, and what a faster program saves."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import frontier, margins
from kvlab.evidence.cost import CONTROL_STEP_MS, cost, inference_ratio, savings
from kvlab.evidence.rows import successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.wording import percent
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
ENGINE, ONE_GRAPH, COMPILED = "engine", "eager, one CUDA graph", "compiled, one CUDA graph"
LEROBOT = ("LeRobot, compiled", "LeRobot, not compiled")
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
    "images and instruction, 2 denoising steps": ("prefix when pixels >= 0.98 steps=2", True),
}


def only_reuses(setting: Setting) -> bool:
    """Is reuse of the cache all that is changed?"""
    plain = setting.denoising_steps is None and setting.execute is None
    return plain and setting.mode not in ("none", "chunk")


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
    reuse = text.listed([f"{_left(table, _reuse(table))} ({suite})" for suite, table in bought.items()])
    lever = text.listed([_left(table, _lever(table)) for table in bought.values()])
    return f"Within {100 * margin:.0f} points reuse leaves {reuse} of the inference, the best lever {lever}"


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
        _program(ways, version),
        _usable(bought, records, machines, margin),
        _solved(bought, records, next(iter(machines.values()))),
        _budget(records, machines),
    ]


def per_step(
    records: Mapping[str, Records], settings: Mapping[str, Sequence[Setting]], machines: Mapping[str, Latency]
) -> pd.DataFrame:
    """Inference per control step, a row for each suite and setting: of no reuse's, and of the time there is."""

    def row(suite: str, setting: Setting) -> dict[str, str]:
        found = {name: savings(records[suite], [setting], NO_REUSE, one).iloc[0] for name, one in machines.items()}
        first = next(iter(found.values()))
        return {
            "replans that reuse": text.percent(first.reuse),
            **{f"{name}, of no reuse": text.percent(one.of_control) for name, one in found.items()},
            **{f"{name}, of {CONTROL_STEP_MS:.0f} ms": text.percent(one.of_budget) for name, one in found.items()},
        }

    return _by_suite(settings, row)


def per_episode(
    records: Mapping[str, Records], settings: Mapping[str, Sequence[Setting]], times: Latency, confidence: float
) -> pd.DataFrame:
    """Inference of an episode that both solve, over no reuse's, and the control steps of all episodes."""

    def row(suite: str, setting: Setting) -> dict[str, str]:
        ratio = inference_ratio(records[suite], setting, NO_REUSE, times, confidence)
        solved = successes(records[suite], setting)
        return {
            "successes": f"{int(solved.sum())} of {len(solved)}",
            "solved episode, % of no reuse": percent(ratio) if ratio else "too few solved",
        }

    return _by_suite({suite: [s for s in some if s != NO_REUSE] for suite, some in settings.items()}, row)


def one_replan(machines: Mapping[str, Latency]) -> pd.DataFrame:
    """A replan that keeps what REPLANS names, on each machine in ms and over no reuse's."""
    rows = {}
    for kept, (written, allowed) in REPLANS.items():
        rows[kept] = {}
        for name, times in machines.items():
            try:
                ms = times.replan_ms(parse_setting(written), allowed)
            except ValueError:  # no time of this on that machine
                rows[kept] |= {f"{name}, ms": "not timed", f"{name}, of no reuse": ""}
                continue
            share = text.percent(ms / times.replan_ms(NO_REUSE, False))
            rows[kept] |= {f"{name}, ms": f"{ms:.1f}", f"{name}, of no reuse": share}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=None, columns="what is kept")


def programs(ways: pd.DataFrame, version: str) -> pd.DataFrame:
    """`peers.implementations` for readers."""
    shown = {
        "ms": ways.ms.map("{:.1f}".format),
        "from": ways.low.map("{:.1f}".format),
        "to": ways.high.map("{:.1f}".format),
        "machines": ways.of,
    }
    named = [_program_name(name, version) for name in ways.index]
    return pd.DataFrame(shown).set_axis(named).rename_axis(index=None, columns="program")


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


def _program(ways: pd.DataFrame, version: str) -> str:
    """The engine first against what a user would do, then against what the processor bounds."""
    ms = ways["ms"]
    lead = "Run the policy by a faster program first"
    said = [f"For a full-size Pi0 without reuse on one H100 the engine takes {ms[ENGINE]:.1f} ms."]
    if ONE_GRAPH in ms:
        compiled = f", and compiled by torch.compile before {ms[COMPILED]:.1f} ms" if COMPILED in ms else ""
        said.append(f"The eager model in one CUDA graph takes {ms[ONE_GRAPH]:.1f} ms{compiled}, in the same run.")
    else:
        said.append("What one CUDA graph or torch.compile alone would give was not measured in this run.")
    if LEROBOT[0] in ms:
        said.append(f"LeRobot {version}, compiled, takes {ms[LEROBOT[0]]:.0f} ms.")
    slow = [
        f"{_program_name(name, version)} {_range(ways.loc[name])}"
        for name in ("eager", LEROBOT[1])
        if name in ways.index
    ]
    if slow:
        said.append(f"Where the processor starts every kernel, the time is the processor's: {'; '.join(slow)}.")
    return f"**{lead}.** {' '.join(said)}"


def _range(way: pd.Series) -> str:
    where = f"the medians of {way.of:.0f} machines" if way.of > 1 else "most of one run"
    return f"{way.low:.0f} to {way.high:.0f} ms ({where})"


def _program_name(name: str, version: str) -> str:
    return name.replace("LeRobot", f"LeRobot {version}".strip())


def _usable(bought, records, machines, margin) -> str:
    """What only reuse may save in each suite, at the share of reuse that it has there."""
    points, said, saved = f"{100 * margin:.0f} points", [], []
    for suite, table in bought.items():
        if (setting := _reuse(table)) is None:
            said.append(f"In `{suite}` no setting that only reuses saves and is shown to lose under {points}.")
            said += _most(suite, table, margin)
            continue
        shares = [f"{text.percent(table.loc[setting, (key, 'of_control')])} ({m.name})" for key, m in machines.items()]
        saved.append(1 - table.loc[setting, (next(iter(machines)), "of_control")])
        said.append(
            f"In `{suite}` the cheapest is {tables.lever(setting)}: "
            f"{text.percent(reuse_share(records[suite], setting))} of replans reuse, and a control step takes "
            f"{text.listed(shares)} of the inference without reuse. It solves "
            f"{text.difference(table.loc[setting, (suite, 'difference')], 'without reuse')}, "
            f"{text.count(len(successes(records[suite], setting)), 'episode')}."
        )
        said += _most(suite, table, margin)
    lead = f"at most {text.percent(max(saved))} of the inference" if saved else "nothing that is shown"
    return f"**Reuse that loses under {points} saves {lead}.** {' '.join(said)}"


def _most(suite: str, table: pd.DataFrame, margin: float) -> list[str]:
    """What the most saving of all that only reuses would leave, where it is another than the one that was chosen."""
    only = table[[only_reuses(setting) for setting in table.index]]
    if only.empty or only.index[0] == _reuse(table):
        return []
    setting = only.index[0]
    return [
        f"The cheapest whatever it loses, {tables.lever(setting)}, leaves {_left(table, setting)}, and "
        f"{margins.loss_words(table.loc[setting, (suite, 'difference')], margin)}."
    ]


def _solved(bought, records, times: Latency) -> str:
    """Inference to solve an episode: of the reuse that saves most, and of the cheapest lever."""
    told, grown = [], False
    for suite, table in bought.items():
        for setting in dict.fromkeys(filter(None, (_reuse(table), _lever(table)))):
            if ratio := inference_ratio(records[suite], setting, NO_REUSE, times):
                step = cost(setting, records[suite], times) / cost(NO_REUSE, records[suite], times)
                grown |= ratio.estimate > step
                told.append(f"In `{suite}` {tables.lever(setting)}: {100 * ratio.estimate:.0f} % ({_ends(ratio)})")
    if not told:
        return "**No setting within the margin saves.** So there is no episode to compare with one without reuse."
    lead = "Longer episodes take a part of it back" if grown else "Episodes do not get longer by it"
    return (
        f"**{lead}.** An episode that both solve takes so much of the inference without reuse ({times.name}). "
        f"{'. '.join(told)}."
    )


def _ends(ratio: Interval) -> str:
    return f"{100 * ratio.low:.0f} to {100 * ratio.high:.0f}"


def _budget(records, machines) -> str:
    shares = []
    for times in machines.values():
        used = [cost(NO_REUSE, rows, times) / CONTROL_STEP_MS for rows in records.values()]
        shares.append(f"{text.percent(max(used))} ({times.name})")
    return (
        f"**Where inference already fits into a control step, a saving buys idle time.** Without reuse it takes at "
        f"most {text.listed(shares)} of the {CONTROL_STEP_MS:.0f} ms that a control step has."
    )


def _reuse(table: pd.DataFrame) -> Setting | None:
    """Of what only reuses, the cheapest that is inside the margin and saves anything."""
    return _lever(table[[only_reuses(setting) for setting in table.index]])


def _lever(table: pd.DataFrame) -> Setting | None:
    """The cheapest that is inside the margin and saves anything."""
    return frontier.cheapest(table[_costs(table) < 1])


def _costs(table: pd.DataFrame) -> pd.Series:
    return table[next(column for column in table.columns if column[1] == "of_control")]


def _left(table: pd.DataFrame, setting: Setting | None) -> str:
    return "all" if setting is None else text.percent(_costs(table)[setting])


def _by_suite(settings: Mapping[str, Sequence[Setting]], row) -> pd.DataFrame:
    which = [(suite, setting) for suite, some in settings.items() for setting in some]
    rows = [{"suite": suite, **row(suite, setting)} for suite, setting in which]
    names = [tables.lever(setting) for _, setting in which]
    return pd.DataFrame(rows, names).rename_axis(index=None, columns="setting")
