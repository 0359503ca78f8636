"""What the book recommends, and the words that every page with a recommendation has.

The rule is that of `second_seed.SecondSeed.choose`: the cheapest setting that is shown to lose under the margin in
every suite by the seed that chose it, and again by a second one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import trained_again
from kvlab.book.answers.second_seed import NO_REUSE, Again, Choice, SecondSeed
from kvlab.book.recorded import in_full
from kvlab.evidence import frontier, margins
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from kvlab.study.times import Latency

FIRST = (  # what the start page and *Decide for your own policy* compare
    "none steps=5", "none steps=2", "none steps=1", "none execute=7", "none execute=10", "none execute=16",
    "none steps=2 execute=10", "none steps=1 execute=10", "none steps=2 execute=16",
    "chunk when every(2)", "chunk when settled <= 0.025", "prefix when every(2)", "prefix when vision >= 0.945",
    "prefix when vision >= 0.98", "full when every(2)", "full when vision >= 0.98",
)  # fmt: skip
CAUTION = "A larger policy may lose: test yours."


def recommended(bought: pd.DataFrame, second: SecondSeed) -> Choice | None:
    """What to take of `frontier.within_margin`; of what costs less than no reuse. None where the first seed shows none.

    Cost is by the first machine of `bought`.
    """
    return second.choose([setting for setting in bought.index if _saves(bought, setting)])


def _saves(bought: pd.DataFrame, setting: Setting) -> bool:
    first = next(column for column in bought.columns if column[1] == "of_control")
    return bool(bought.loc[setting, ("all", "inside")]) and bought.loc[setting, first] < 1


def of_book(first: Mapping[str, Study], times: Latency, margin: float, confidence: float) -> Choice | None:
    """What the start page recommends, if it does: by the first policy of each suite, among the settings it compares."""
    asked = (NO_REUSE, *map(parse_setting, FIRST))
    studies = {suite: in_full(replace(study, settings=asked)) for suite, study in first.items()}
    shared = [setting for setting in asked if all(setting in study.settings for study in studies.values())]
    records = {suite: study.read() for suite, study in studies.items()}
    bought = frontier.within_margin(records, shared, NO_REUSE, {times.name: times}, margin, confidence)
    return recommended(bought, SecondSeed(tuple(studies.values()), margin, confidence))


def nothing(records: Mapping[str, Records], margin: float) -> str:
    """What is said where none is recommended."""
    return f"**No lever is shown to be worth it.** {none_shown(records, margin)}"


def none_shown(records: Mapping[str, Records], margin: float) -> str:
    """That no setting is shown to keep success and to save inference."""
    return (
        f"None that is listed here and saves inference has a loss that is shown to be under {100 * margin:.0f} points "
        f"in {'every suite' if len(records) > 1 else 'the suite'}."
    )


def why(choice: Choice, suites: int, margin: float, among: str = "") -> str:
    """By what rule it was chosen, of the settings that `among` names (`that reuse `), and the doubt that is left."""
    under = f"to lose under {100 * margin:.0f} points, if any"
    everywhere = ", in every suite" * (suites > 1)
    cheapest = f"Of the settings listed here {among}it is the cheapest that"
    if choice.confirmed:
        return f"{cheapest} both seeds show {under}{everywhere}."
    return f"{cheapest} is shown {under}{everywhere}. {choice.taken.lead}."


def recommendation(
    choice: Choice,
    records: Mapping[str, Records],
    second: SecondSeed,
    costs: Callable[[Setting], str],
    among: str = "",
) -> str:
    """Why a setting was chosen, how it did again and trained again; then what is cheaper, and lacks what.

    `costs`: what a setting costs, as in `51 % (a machine)`.
    """
    taken = choice.taken
    said = [
        why(choice, len(records), second.margin, among),
        taken.effects(records),
        trained_again.shown(second.studies, taken.setting, second.margin, second.confidence),
        *(cheaper(again, costs(again.setting)) for again in choice.cheaper),
    ]
    return " ".join(filter(None, said))


def costs(bought: pd.DataFrame, setting: Setting, machines: Mapping[str, str]) -> str:
    """What a setting of `bought` (`frontier.within_margin`) takes of no reuse's inference, by machine.

    `machines`: how a sentence calls each machine, by its column.
    """
    shares = {key: text.percent(bought.loc[setting, (key, "of_control")]) for key in machines}
    return text.listed([f"{share} ({machines[key]})" for key, share in shares.items()])


def cheaper(again: Again, costs: str = "") -> str:
    """A cheaper setting that the first seed alone shows to lose so little, and what is missing; what it `costs`."""
    lead = "Cheaper, and not to be relied on, is" if again.verdict == margins.OUTSIDE else "A cheaper candidate is"
    return f"{lead} {tables.lever(again.setting)}{costs and f', at {costs}'}: {again.missing}."
