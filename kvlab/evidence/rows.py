"""Which rows are a setting's, and whether settings may be compared: what every table of evidence starts from."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kvlab.evidence.stats import Pairs, pair
from kvlab.study.records import EPISODE, SETTING, Records
from kvlab.study.settings import Setting


def of_setting(table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """The rows of one setting. ValueError where there are none."""
    said = {name: getattr(setting, name) for name in SETTING}
    mine = [table[name].isna() if value is None else table[name].eq(value) for name, value in said.items()]
    rows = table[np.all([one.fillna(False).to_numpy(bool) for one in mine], axis=0)]
    if rows.empty:
        raise ValueError(f"no rows of the setting `{setting}` in these records")
    return rows


def recorded(records: Records) -> list[Setting]:
    """Every setting that these records hold, in the order in which it first occurs."""
    found = records.episodes[SETTING].drop_duplicates().astype(object)
    return [Setting(**row) for row in found.where(found.notna(), None).to_dict("records")]


def check_shared(records: Records, settings: Sequence[Setting]) -> None:
    """ValueError unless there are settings and all were run on the same episodes: a table of them would have holes."""
    if not settings:
        raise ValueError("no setting is named, so there is nothing to compare")
    first, *others = settings
    episodes = of_setting(records.episodes, first).set_index(EPISODE).index
    for other in others:
        apart = episodes.symmetric_difference(of_setting(records.episodes, other).set_index(EPISODE).index)
        if len(apart):
            which = ", ".join(f"{name} {value}" for name, value in zip(EPISODE, apart[0], strict=True))
            raise ValueError(
                f"`{first}` and `{other}` were not run on the same episodes ({len(apart)} are of one of them only: "
                f"{which}, for one); only settings that share them can be compared"
            )


def successes(records: Records, setting: Setting) -> pd.Series:
    """Success of each episode of a setting, indexed by the episode. ValueError where an episode ended in an error."""
    rows = of_setting(records.episodes, setting)
    if rows["error"].notna().any():
        raise ValueError(f"`{setting}` has episodes that ended in an error of the simulator; run them again")
    return rows.set_index(EPISODE)["success"].astype(bool)


def pairs(records: Records, setting: Setting, other: Setting) -> Pairs:
    """How the same episodes ended in both settings. ValueError as in `successes`, and where episodes are not shared."""
    return pair(successes(records, setting), successes(records, other))


def gains(records: Records, setting: Setting, other: Setting) -> pd.Series:
    """Success of `setting` minus that of `other` in each episode: -1, 0 or 1. ValueError as in `pairs`."""
    check_shared(records, [setting, other])
    return successes(records, setting).astype(int) - successes(records, other).astype(int)
