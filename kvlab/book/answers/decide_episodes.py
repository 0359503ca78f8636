"""What *Decide for your own policy* says of the episodes that would decide: how many, and what to set for them."""

from math import ceil

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.decide_question import Question, chosen
from kvlab.book.answers.second_seed import SAME, Again
from kvlab.evidence import decision, margins
from kvlab.sim.suites import tasks
from kvlab.study.records import Records
from kvlab.study.study import Study


def confirm(question: Question, records: Records, judged: pd.DataFrame) -> list[str]:
    """What is left to do for a setting that was chosen among several; nothing where none was."""
    *_, choice = chosen(question, judged)
    if choice is None:
        return []
    lead, after = {
        None: ("Confirm it with another seed", f"That has {SAME}."),
        margins.UNDECIDED: ("Confirm it with a third seed", "A second seed leaves it open."),
        margins.INSIDE: ("A second seed confirms it; tasks and initial states were the same", "Other ones may differ."),
        margins.OUTSIDE: ("Choose another setting, and confirm that one", "By a second seed this one loses too much."),
    }[choice.taken.verdict]
    said = f"**{lead}.** {after} It was chosen among {text.count(len(judged) - 1, 'setting')}, which favours the lucky."
    open_ = [one for one in choice.all if one.verdict in (None, margins.UNDECIDED)]
    return [" ".join([said, *(_enough(question, records, one) for one in open_)])]


def _enough(question: Question, records: Records, again: Again) -> str:
    """How many episodes would decide, and what to set for that."""
    apart, n = _apart(question, records, again)
    needed, each = decision.needed(apart, n, question.margin, question.confidence), _episodes(question.study)
    first = question.study.seed + (1 if again.verdict is None else 2)
    seeds = [str(first + more) for more in range(ceil(needed / each))]
    turns = f"`seed` to {text.listed(seeds, 'and then to')}" + f": a seed has {each} episodes" * (len(seeds) > 1)
    return (
        f"For {tables.lever(again.setting)} it takes {text.count(needed, 'episode')} to exclude a loss of "
        f"{question.points} with a chance of 80 %, if it is as good as no reuse. "
        f'Set `settings` to `["{again.setting}"]`, `run` to `True`, `episodes` to {min(needed, each)} and {turns}.'
    )


def _episodes(study: Study) -> int:
    """How many a seed has: so many tasks, and of each the initial states that the policy was not trained on."""
    return len(tasks(study.protocol.suite)) * len(study.states)


def _apart(question: Question, records: Records, again: Again) -> tuple[int, int]:
    """How many pairs ended differently, of how many, with the seed in which more did."""
    (seeds,) = again.seeds({question.study.protocol.suite: records}).values()
    worst = max(seeds, key=lambda counts: (counts.setting_only + counts.control_only) / counts.n)
    return worst.setting_only + worst.control_only, worst.n


def design(question: Question, records: Records, judged: pd.DataFrame) -> pd.DataFrame:
    """Of the settings that fit and are not shown to lose, how many pairs exclude a loss, if they lose nothing.

    By the seed in which more ended differently, as `confirm`.
    """
    kept = judged[judged.fits & judged.loss.notna()]
    kept = kept[[lost.high >= 0 for lost in kept.difference]]
    apart = [_apart(question, records, question.second.of(setting)) for setting in kept.index]
    columns = {"end differently": [f"{differ} of {n}" for differ, n in apart]}
    for margin in sorted({question.margin, margins.BUY, margins.MARGIN}):
        needed = [decision.needed(differ, n, margin, question.confidence) for differ, n in apart]
        columns[f"episodes for {100 * margin:.0f} points"] = [f"{many:,}" for many in needed]
    return pd.DataFrame(columns, [tables.lever(setting) for setting in kept.index]).rename_axis(columns="setting")
