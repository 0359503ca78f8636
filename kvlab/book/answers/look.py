"""What *What it looks like* says, out of the rows of one episode and of all that were recorded beside it."""

from collections.abc import Sequence

import pandas as pd

from kvlab.book import films, text
from kvlab.evidence.rows import successes
from kvlab.study.records import Records
from kvlab.study.settings import Setting


def findings(settings: Sequence[Setting], shown: Sequence[Records], records: Records) -> list[str]:
    """How the episode ends in each setting (`shown`, one each), and how many of all `records` end in the same way."""
    endings = [
        f"`{setting}`: {films.ended(one)}, {text.count(int(one.episodes['reused'].iloc[0]), 'replan')} of "
        f"{one.episodes['replans'].iloc[0]} reused."
        for setting, one in zip(settings, shown, strict=True)
    ]
    ends = tuple(bool(one.episodes["success"].iloc[0]) for one in shown)
    solved = [f"`{setting}`" for setting, success in zip(settings, ends, strict=True) if success]
    told = _outcomes(settings, records)
    alike = int((told == ends).sum())
    return [
        f"**Solved by {text.listed(solved or ['no setting'])}.** {' '.join(endings)}",
        f"**{alike} of {text.count(len(told), 'episode')} end{'s' * (alike == 1)} like this one.**",
    ]


def table(settings: Sequence[Setting], records: Records) -> pd.DataFrame:
    """How often each combination of endings came, the most frequent first."""
    counted = _outcomes(settings, records).value_counts()
    rows = [["solved" if success else "not solved" for success in ends] for ends in counted.index]
    frame = pd.DataFrame(rows, columns=[films.NAMES[setting.mode] for setting in settings])
    frame.insert(0, "episodes", counted.to_list())
    return frame.set_index("episodes").rename_axis(index=None, columns="episodes")


def _outcomes(settings: Sequence[Setting], records: Records) -> pd.Series:
    """For each episode, whether each setting solved it. ValueError where an episode ended in an error."""
    frame = pd.concat([successes(records, setting) for setting in settings], axis=1)
    return pd.Series([tuple(map(bool, row)) for row in frame.to_numpy()], frame.index)
