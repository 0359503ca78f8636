"""What *Decide for your own policy* asks: settings of a policy, times of a machine, a budget; which rows it has, and
which setting they choose.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from kvlab.book import text
from kvlab.book.answers.second_seed import Choice, SecondSeed
from kvlab.book.recorded import already, in_full, left_out
from kvlab.evidence import decision
from kvlab.paths import DATA, ROOT
from kvlab.pi0.checkpoint import CONFIG
from kvlab.pi0.files import HUB_ID
from kvlab.reuse import parse_execution
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from kvlab.study.times import Latency

CHOSEN = ("lever", "reuse")  # the steps at which a setting is chosen among several


@dataclass(frozen=True)
class Question:
    """What is asked: settings of a policy on a suite, the times of a machine, what may be spent and what be lost."""

    study: Study  # no reuse among its settings
    times: Latency
    budget_ms: float  # of inference per control step
    margin: float  # of success, a share
    confidence: float = 0.95

    @property
    def points(self) -> str:
        """The margin in words."""
        return text.count(round(100 * self.margin), "point")

    @property
    def second(self) -> SecondSeed:
        """What the next seed says of a setting."""
        return SecondSeed((self.study,), self.margin, self.confidence)


def find(checkpoint: str) -> Path | str:
    """The folder, relative ones from the root of the repository, or the id on the Hub. OSError: says what there is."""
    if (folder := ROOT / checkpoint).exists():
        return folder
    if HUB_ID.fullmatch(checkpoint):
        return checkpoint
    here = [f"data/checkpoints/{path.parent.name}" for path in sorted((DATA / "checkpoints").glob(f"*/{CONFIG}"))]
    raise FileNotFoundError(
        f"there is no checkpoint {checkpoint}; here are {text.listed(here)}, and others are named by their folder or, "
        "on the Hugging Face Hub, as owner/name"
    )


def least_ms(question: Question, setting: Setting) -> float:
    """What a control step takes at least, in ms, however often the setting reuses. ValueError: there is no time."""
    ways = (False,) if setting.mode == "none" else (False, True)
    study, fastest = question.study, min(question.times.replan_ms(setting, allowed) for allowed in ways)
    chunk = study.policy.config.chunk
    return fastest / (parse_execution(setting.execute or study.protocol.replan_every or chunk).count or chunk)


def longest_ms(times: Latency, setting: Setting) -> float:
    """What a replan that computes takes, in ms: no setting shortens it by reuse. ValueError: there is no time."""
    return times.replan_ms(setting, allowed=False)


def asking(question: Question, settings: Iterable[Setting]) -> tuple[Question, list[str]]:
    """The question with more settings, those recorded or such as may fit the budget; a sentence on the others.

    One that only says the policy's defaults is asked once.
    """
    study, policy, able, said = question.study, question.study.policy, {}, []
    for setting in settings:
        setting = setting.without_defaults(policy.config.denoising_steps, study.protocol.replan_every)
        try:
            setting.on(policy, study.protocol.replan_every)
            able[setting] = least_ms(question, setting) <= question.budget_ms
        except ValueError as error:
            said.append(f"Left out is `{setting}`: {error}.")
    slow = [setting for setting, fits in able.items() if not fits and setting not in study.settings]
    slow = [setting for setting in slow if setting not in already(study, slow)]
    if slow:
        said.append(
            f"Left out: {text.listed([f'`{setting}`' for setting in slow])}. However often they reuse, they take more "
            f"than the budget of {question.budget_ms:g} ms per control step, by the times of {question.times.name}."
        )
    wanted = [setting for setting in able if setting not in slow]
    return replace(question, study=replace(study, settings=tuple(dict.fromkeys([*study.settings, *wanted])))), said


def planned(question: Question, run: bool, workers: int) -> list[str]:
    """What is recorded, what the next cell runs, and how long that takes, before anything runs."""
    said = [text.planned(question.study, workers=workers), text.compared(question.study, question.times)]
    if question.study.plan()["missing"].any() and not run:
        said.append("`run` is off, so that nothing is run; turn it on to run them.")
        said += left_out([question.study], [in_full(question.study)])
    return said


def read(question: Question, run: bool, workers: int) -> Records | None:
    """The rows to decide by: with `run` all, else those of the settings recorded in full; None without no reuse's."""
    study = question.study if run else in_full(question.study)
    if study.plan()["missing"].any() and not run:
        return None
    return study.run(workers)


def chosen(question: Question, judged: pd.DataFrame) -> tuple[str, Setting | None, Choice | None]:
    """The step of `decision.choice`, the setting there, and at CHOSEN what both seeds say of it (`recommended`)."""
    step, settings = decision.choice(judged)
    choice = question.second.choose(settings) if step in CHOSEN else None
    return step, choice.taken.setting if choice else next(iter(settings), None), choice
