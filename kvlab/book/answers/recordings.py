"""What *Recordings* says of the recorded rows, of where they are from, and of those that were run again."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import text
from kvlab.evidence.duration import from_nothing
from kvlab.study.records import ORIGIN, SETTING
from kvlab.study.settings import Setting, parse_setting

ORIGINS = {
    "processor": "processor",
    "instructions": "instruction set",
    "torch": "torch",
    "drawn_by": "frames drawn by",
    "computed_by": "policy computed by",
    "numerics": "numerics",
}
_KINDS = {  # of episodes, by what a table of them says
    "with a gate on thumbnails": lambda table: table["gate"].str.contains("pixels"),
    "with single image tokens": lambda table: table["mode"].str.startswith("tokens"),
    "shown late or other inputs": lambda table: table["seeing"] != "live",
    "with delays": lambda table: table["delays"] != "",
    "of another seed": lambda table: table["seed"] != 0,
}
APART = {  # what folders of `data` beside that of the chapters' rows have
    "int8": "of policies in int8 ([What to buy instead](buy_instead.ipynb))",
    "devices": "whose policy ran on a GPU ([Inside the engine](engine.ipynb))",
}
_RECORDING = ["suite", "policy", "device", *SETTING, "delays", "seed"]


def findings(episodes: pd.DataFrame, now: pd.DataFrame, elsewhere: pd.DataFrame, apart: Mapping[str, int]) -> list[str]:
    """The answer. `episodes` of `recordings.all_episodes`, with the names of policies as `policy`; `now`: of
    `again.run_again`, those that were run again while the page was made; `elsewhere`: those that were recorded on one
    processor and run again on another; `apart`: how many episodes are recorded elsewhere, by what they are.
    """
    return [_recorded(episodes, apart), _again(now, elsewhere), _duration(episodes)]


def not_again(episodes: pd.DataFrame, *again: pd.DataFrame) -> str:
    """Which kinds of recorded episodes are not among those of `again`, which ran without delays."""
    ran = pd.concat(again, ignore_index=True)
    settings = [vars(parse_setting(one)) for one in ran["setting"]]
    ran = pd.concat([ran[["suite", "seed"]].assign(delays=""), pd.DataFrame(settings)], axis=1)
    lacking = [name for name, has in _KINDS.items() if has(episodes).any() and not has(ran).any()]
    return f"Not among these are episodes {text.listed(lacking, 'or')}." if lacking else ""


def by_policy(episodes: pd.DataFrame) -> pd.DataFrame:
    """What is recorded, a row for each policy and suite."""
    rows = {}
    for (suite, policy), some in episodes.groupby(["suite", "policy"]):
        rows[policy, suite] = {
            "suite": suite,
            "recordings": some.groupby(_RECORDING, dropna=False).ngroups,
            "episodes": f"{len(some):,}",
            "replans": f"{some['replans'].sum():,}",
            "errors": int(some["error"].notna().sum()),
            "hours of one process": f"{some['wall_s'].sum() / 3600:.1f}",
        }
    return _named(pd.DataFrame([*rows.values()], [policy for policy, _ in rows]), "policy")


def partial(episodes: pd.DataFrame) -> str:
    """How many recordings have fewer episodes than the others: what began, and was not run to its end."""
    sizes = episodes.groupby(_RECORDING, dropna=False).size()
    whole, few = sizes.max(), sizes[sizes < sizes.max()]
    if few.empty:
        return f"Every recording has {text.count(int(whole), 'episode')}."
    many = f"{few.min()} to {few.max()}" if few.min() < few.max() else few.max()
    seeds = text.listed(sorted({str(seed) for seed in few.index.get_level_values("seed")}))
    return (
        f"{text.count(len(few), 'recording')} of {len(sizes)} {'has' if len(few) == 1 else 'have'} fewer than {whole} "
        f"episodes ({many} of seed {seeds}). No result of this book counts them."
    )


def by_origin(episodes: pd.DataFrame) -> pd.DataFrame:
    """Where the rows are from: a column for each machine, the most episodes first."""
    columns, names = [], []
    machines = sorted(episodes.groupby(ORIGIN), key=lambda group: -len(group[1]))
    for origin, some in machines:
        said = dict(zip(ORIGIN, origin, strict=True))
        suites = some.groupby("suite").size()
        said = {shown: said[name] for name, shown in ORIGINS.items()}
        said |= {f"episodes of {suite}": f"{suites.get(suite, 0):,}" for suite in sorted(episodes["suite"].unique())}
        said |= {"first": some["recorded"].min()[:10], "last": some["recorded"].max()[:10]}
        columns.append(said)
        names.append(short(said["processor"]))
    table = pd.DataFrame(columns).T.set_axis(names, axis=1)
    return _named(table, "where from")


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Episodes that were run again, for readers. Where bits differ there is a column for what differs between the
    machines.
    """
    differs = table["first_difference"].notna() | ~table["agrees"].astype(bool)
    shown = pd.DataFrame(
        {
            "suite": table["suite"],
            "task": table["task"],
            "initial state": table["initial_state"],
            "control steps": table["steps"],
            "replans": table["replans"],
            "first replan that differs": [_whole(n) for n in table["first_difference"]],
        }
    )
    if differs.any():
        shown["what differs between the machines"] = table["machine"].where(differs, "").fillna("")
    return _named(shown.set_axis(table["setting"]), "setting")


def by_recording(episodes: pd.DataFrame) -> pd.DataFrame:
    """Every recording, a row for each suite, policy, setting, world and seed."""
    found = episodes.groupby(_RECORDING, dropna=False).agg(
        successes=("success", "sum"),
        episodes=("success", "count"),
        reused=("reused", "sum"),
        replans=("replans", "sum"),
        minutes=("wall_s", lambda seconds: seconds.sum() / 60),
    )
    found = found.reset_index().sort_values(["suite", *SETTING, "delays", "seed"])
    return _named(
        pd.DataFrame(
            {
                "suite": found["suite"],
                "policy": found["policy"],
                "successes": [f"{k} of {n}" for k, n in zip(found["successes"], found["episodes"], strict=True)],
                "replans that reuse": (found["reused"] / found["replans"]).map(text.percent),
                "minutes": found["minutes"].map("{:.0f}".format),
            }
        ).set_axis([_written(row) for _, row in found.iterrows()]),
        "setting",
    )


def short(processor: str) -> str:
    """A processor without vendor, family and model: `Intel Xeon`."""
    return processor.split(" (")[0].replace("(R)", "").removesuffix(" Processor")


def _recorded(episodes: pd.DataFrame, apart: Mapping[str, int]) -> str:
    settings, recorded = (episodes.groupby(names, dropna=False).ngroups for names in (SETTING, _RECORDING))
    policies, suites = (
        text.count(episodes[name].nunique(), name, plural)
        for name, plural in (("policy", "policies"), ("suite", "suites"))
    )
    return (
        f"**{text.count(len(episodes), 'episode')} of {text.count(settings, 'setting')} are recorded, in {suites} by "
        f"{policies}.** They have {text.count(int(episodes['replans'].sum()), 'replan')}, in "
        f"{text.count(recorded, 'recording')}.{_apart(apart)}"
    )


def _apart(apart: Mapping[str, int]) -> str:
    each = [f"{text.count(many, 'episode')} {what}" for what, many in apart.items() if many]
    return f" Not counted here: {text.listed(each)}." if each else ""


def _again(now: pd.DataFrame, elsewhere: pd.DataFrame) -> str:
    both = pd.concat([now.assign(while_made=True), elsewhere.assign(while_made=False)], ignore_index=True)
    agrees = both["agrees"].astype(bool)
    lead = (
        f"{agrees.sum()} of {text.count(len(agrees), 'episode')} that were run again came out to the bit"
        if agrees.all()
        else "Some episodes come out differently"
    )
    here, there = agrees[both["while_made"]], agrees[~both["while_made"]]
    machines = f"recorded on {_machines(elsewhere['recorded_on'])} and run again on {_machines(elsewhere['run_on'])}"
    said = [
        f"**{lead}.** Of {text.count(len(here), 'episode')} run again while this page was made, {here.sum() or 'none'} "
        f"{'have' if here.sum() > 1 else 'has'} the recorded outcome and, to the bit, every chunk of actions.",
        f"So have {there.sum()} of {len(there)} that were {machines}.",
    ]
    if agrees.all():
        said.append("They were chosen, so this gives no share of all episodes.")
    else:
        said.append(_first(both[~agrees].iloc[0]))
    return " ".join(said)


def _first(row: pd.Series) -> str:
    where = f"task {row['task']}, initial state {row['initial_state']} of `{row['setting']}` in `{row['suite']}`"
    replan = _whole(row["first_difference"])
    what = f"its first replan that differs is number {replan}" if pd.notna(row["first_difference"]) else "its outcome"
    machine = f"Between the machines differ: {row['machine']}." if row["machine"] else "The machines are named alike."
    return f"The first that differs is {where}: {what}. {machine}"


def _duration(episodes: pd.DataFrame) -> str:
    found = from_nothing(episodes)
    known = found[found["hours"].notna()]
    if known.empty:
        return "**How long it takes from nothing is not known.** No processor has recorded enough of every suite."
    told = [
        f"{_time(row['hours'])} with {text.count(round(row['processes']), 'process', 'processes')} of an {short(name)}"
        for name, row in known.sort_values("hours").iterrows()
    ]
    return (
        f"**To record everything from nothing would take {text.listed(told, 'or')}.** These scale "
        "each processor's mean times; none was run in one go."
    )


def _machines(names: pd.Series) -> str:
    return text.listed([f"an {short(name)}" for name in sorted(names.unique())])


def _time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 2 else f"{60 * hours:.0f} minutes"


def _whole(number: float) -> str:
    return "none" if pd.isna(number) else f"{number:.0f}"


def _written(row: pd.Series) -> str:
    setting = Setting(*(None if pd.isna(row[name]) else row[name] for name in SETTING))
    delays = f", delays of {row['delays']}" if row["delays"] else ""
    return f"{setting}{delays}" + (f", seed {row['seed']}" if row["seed"] else "")


def _named(table: pd.DataFrame, rows: str) -> pd.DataFrame:
    return table.rename_axis(index=None, columns=rows)
