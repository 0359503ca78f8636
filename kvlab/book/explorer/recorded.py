"""What is recorded, setting by setting, as the explorer shows it: as data, and as a page that carries its data."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
from pyarrow import Table, concat_tables

from kvlab.book import tables, text
from kvlab.book.parameters import in_one_sentence
from kvlab.book.recorded import checkpoints, policy
from kvlab.book.trying import TRIED, tried_beside
from kvlab.evidence.control_steps import mean_steps
from kvlab.evidence.cost import cost
from kvlab.evidence.rows import of_setting, recorded, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import rate_interval
from kvlab.paths import DATA
from kvlab.study.protocol import Protocol
from kvlab.study.recordings import Recording, below
from kvlab.study.records import EPISODES, Records, checked_episodes
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import MACHINES, Latency, latency

HERE = Path(__file__).parent
FOLDERS = ("runs", TRIED)  # of data/
NUMBER = r"\d+(?:\.\d+)?"
SEED = 0  # of the episodes that all settings share
FALLBACK = "The explorer is drawn by JavaScript, which this reader does not run: open the book's HTML page."


@dataclass(frozen=True)
class World:
    """Recorded settings that may be compared: nothing but the setting differs between them."""

    key: dict  # of their recordings, without the setting
    recordings: dict[Setting, Recording]
    records: Records  # episodes of SEED that ended without an error; no replans
    root: Path

    @property
    def protocol(self) -> Protocol:
        """How the episodes were run."""
        return Protocol(**{field.name: self.key[field.name] for field in fields(Protocol) if field.name in self.key})

    @property
    def episodes(self) -> int:
        """As many as a setting has that is recorded in full."""
        return int(self.records.episodes.groupby(["task", "initial_state"]).ngroups)

    @property
    def tried(self) -> Path:
        """Where a reader's own settings are recorded."""
        return tried_beside(next(one.folder for one in self.recordings.values() if one.folder.name != TRIED))

    def recording(self, setting: Setting) -> Recording:
        """ValueError where the setting is not recorded."""
        if setting not in self.recordings:
            raise _not_recorded(setting, self.key["suite"], self.recordings)
        return self.recordings[setting]

    def checkpoint(self) -> Path:
        """The folder of the policy that was run. ValueError where it is not there."""
        if (digest := self.key["checkpoint"]) in (known := checkpoints(self.root)):
            return known[digest]
        raise ValueError(f"the checkpoint of these rows is not in {self.root / 'checkpoints'}, so none can be run")


def worlds(root: Path = DATA, tried: bool = False) -> dict[str, World]:
    """All that is recorded in `root` by the name of its world, portable numerics first; with what readers `tried`.

    Real time, in which the world does not wait, stays out.
    ValueError where nothing is recorded.
    """
    found: dict[str, dict[Setting, tuple[Recording, Table]]] = {}
    for one in (one for folder in FOLDERS for one in below(root / folder)):
        rows = one.named(one.read(EPISODES.columns))
        if len(rows) and "delays" not in one.key and (tried or one.folder.name != TRIED):
            key = one.key | {"numerics": rows["numerics"][0].as_py()}  # a file has rows of one kind
            setting = Setting(**key.pop("setting"))
            same = found.setdefault(json.dumps(key, sort_keys=True), {})
            if setting not in same or len(rows) > len(same[setting][1]):
                same[setting] = one, rows
    if not found:
        raise ValueError(f"nothing is recorded in {root}; `kvlab run --help` says how to record")
    made = [_world(json.loads(key), same, root) for key, same in found.items()]
    made.sort(key=lambda world: (world.key["numerics"] != Protocol.numerics, -len(world.recordings)))
    return dict(zip(_names(made, checkpoints(root)), made, strict=True))


def _world(key: dict, found: Mapping[Setting, tuple[Recording, Table]], root: Path) -> World:
    episodes = checked_episodes(concat_tables(rows for _, rows in found.values()))
    episodes = episodes[(episodes["seed"] == SEED) & episodes["error"].isna()].reset_index(drop=True)
    return World(key, {setting: one for setting, (one, _) in found.items()}, Records(episodes, pd.DataFrame()), root)


def _names(made: list[World], known: Mapping[str, Path]) -> list[str]:
    """The suite of each, and the policy, the numerics and the device where the suite has several."""
    keys = [w.key for w in made]
    told = [
        (k["suite"], policy(k["checkpoint"], known), f"{k['numerics']} numerics", k.get("device", "cpu")) for k in keys
    ]
    many = {n: Counter(suite for suite, _ in {(one[0], one[n]) for one in told}) for n in (1, 2, 3)}
    return [", ".join([one[0], *(one[n] for n in many if many[n][one[0]] > 1)]) for one in told]


def shown(suite: str, setting: str, root: Path = DATA, live: bool = False) -> dict:
    """All that the explorer shows, as JSON has it; `live` with what readers tried, and the outcome of every episode.

    ParameterError: a suite or a setting that is not recorded.
    """
    there, times = worlds(root, live), {name: latency(name) for name in MACHINES}
    with in_one_sentence():
        chosen = _chosen(there, suite, parse_setting(setting))
    return {
        "worlds": {name: _places(world, times, live) for name, world in there.items()},
        "machines": {name: one.name.replace("`", "") for name, one in times.items()},
        "chosen": chosen,
    }


def _chosen(there: Mapping[str, World], suite: str, setting: Setting) -> dict[str, str]:
    same = {name: world for name, world in there.items() if world.key["suite"] == suite}
    if not same:
        suites = text.listed(sorted({world.key["suite"] for world in there.values()}))
        raise ValueError(f"nothing is recorded of the suite {suite!r}; recorded are {suites}")
    for name, world in same.items():
        if setting in world.recordings:
            return {"world": name, "setting": str(setting)}
    raise _not_recorded(setting, suite, dict.fromkeys(one for world in same.values() for one in world.recordings))


def _not_recorded(setting: Setting, suite: str, there: Iterable[Setting]) -> ValueError:
    """Says which settings are, of those that keep the same, or else what there is that keeps something."""
    alike, modes = [f"`{one}`" for one in there if one.mode == setting.mode], {f"`{one.mode}`" for one in there}
    said = f"of its mode {text.listed(alike)}" if alike else f"the modes {text.listed(sorted(modes))}"
    return ValueError(f"the setting `{setting}` is not recorded in {suite}; recorded are {said}")


def _places(world: World, times: Mapping[str, Latency], live: bool) -> list[dict]:
    """One entry per setting, ordered by what is kept, the kind of gate and its numbers."""
    settings, modes = recorded(world.records), [*tables.KEPT]
    return sorted(
        (_place(setting, world, times, live) for setting in settings),
        key=lambda one: (modes.index(re.match(r"\w+", one["setting"])[0]), one["kept"], one["family"], one["numbers"]),
    )


def _place(setting: Setting, world: World, times: Mapping[str, Latency], live: bool) -> dict:
    """A setting's numbers: shares in [0, 1], milliseconds and control steps; None for what is not known."""
    rows = of_setting(world.records.episodes, setting)
    alone = Records(rows, world.records.replans)
    k, n = int(successes(alone, setting).sum()), len(rows)
    success = rate_interval(k, n)
    when = tables.lever(setting).removeprefix(f"{tables.kept(setting)} kept, ")
    place = {
        "setting": str(setting),
        "kept": tables.kept(setting),
        "when": when,
        "family": re.sub(r"(?<=… denoising step)(?!s)", "s", re.sub(NUMBER, "…", when)),
        "numbers": [float(number) for number in re.findall(NUMBER, when)],
        "k": k,
        "n": n,
        "few": n < world.episodes,
        "low": round(success.low, 4),
        "high": round(success.high, 4),
        "reuse": round(reuse_share(alone, setting), 4),
        "steps": round(mean_steps(alone, setting), 1) if k else None,
        **{machine: _ms(setting, alone, one) for machine, one in times.items()},
    }
    outcomes = rows[["task", "initial_state", "success", "steps"]].sort_values(["task", "initial_state"])
    return place | ({"episodes": outcomes.astype(int).to_numpy().tolist()} if live else {})


def _ms(setting: Setting, records: Records, times: Latency) -> float | None:
    """Milliseconds of inference per control step; None where the machine has no time of such a mode or gate."""
    try:
        return round(cost(setting, records, times), 3)
    except ValueError:
        return None


def page(data: dict) -> str:
    """HTML that draws the explorer by itself: styles, script and data are in it, and nothing is loaded."""
    told = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    start = (
        f"const model = {{ get: () => ({told}) }};\n"
        'for (const el of document.querySelectorAll(".kvlab-explorer:has(> .fallback)"))\n'
        "  render({ model, el });"
    )
    script, style = ((HERE / f"explorer.{kind}").read_text() for kind in ("js", "css"))
    return (
        f'<div class="kvlab-explorer"><p class="fallback">{FALLBACK}</p></div>\n'
        f'<style>\n{style}</style>\n<script type="module">\n{script}\n{start}\n</script>'
    )
