"""What *Decide for your own policy* says, out of `decision.judge` (`judged`) and the rows of one policy."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import decide_episodes, recommended
from kvlab.book.answers.decide_question import CHOSEN, Question, chosen, least_ms, longest_ms
from kvlab.book.answers.second_seed import NO_REUSE
from kvlab.evidence import margins, rows, summary
from kvlab.evidence.cost import CONTROL_STEP_MS
from kvlab.evidence.wording import points
from kvlab.pi0 import Policy
from kvlab.study.records import Records
from kvlab.study.settings import Setting

NOTHING = "Nothing is recorded yet."
LADDER = {  # the steps of `decision.choice`; of a setting that was chosen a second seed decides how it is advised
    "enough": "Change nothing",
    "undecided": "Run more episodes of one: {lever}",
    "outside": "Nothing that fits is good enough",
    "nothing": "Nothing fits the budget",
}


def headline(question: Question, judged: pd.DataFrame) -> str:
    """The recommendation in a few words."""
    step, setting, choice = chosen(question, judged)
    return choice.taken.advice if choice else LADDER[step].format(lever=setting and tables.lever(setting))


def named(question: Question, judged: pd.DataFrame) -> list[Setting]:
    """No reuse, and the settings that the recommendation names."""
    _, setting, choice = chosen(question, judged)
    taken = [one.setting for one in choice.all] if choice else [setting] if setting else []
    return list(dict.fromkeys([NO_REUSE, *taken]))


def findings(question: Question, records: Records | None, judged: pd.DataFrame | None, workers: int) -> list[str]:
    """The recommendation, what fits, what to keep, and how to confirm it."""
    if records is None:
        mode, why = keep(question.study.policy)
        kept = f"**If you keep anything of the cache, try `{mode}` first.** {why}"
        return [f"**There is no verdict yet.** {NOTHING} {question.study.estimate(workers)}", _reach(question), kept]
    return [
        recommendation(question, records, judged),
        _fits(question, judged),
        _kept(question, records, judged),
        *decide_episodes.confirm(question, records, judged),
    ]


def recommendation(question: Question, records: Records, judged: pd.DataFrame) -> str:
    """What to do, with its cost and its loss."""
    step, setting, choice = chosen(question, judged)
    lead, budget = f"**{headline(question, judged)}.**", f"{question.budget_ms:g} ms"
    if step == "outside":
        return (
            f"{lead} Every setting within {budget} loses over {question.points}. Take a faster machine, compile the "
            "model, or state a wider margin."
        )
    row = judged.loc[setting]
    if step == "nothing":
        return (
            f"{lead} With {tables.lever(setting)}, the cheapest listed here, a control step takes {row.ms:.1f} ms, not "
            f"{budget}. Next: time the policy on a faster machine (`kvlab bench`), let `settings` execute more of each "
            "chunk, or allow a larger budget."
        )
    longest = longest_ms(question.times, setting)
    costs = (
        f"A control step takes {row.ms:.1f} ms of inference; the budget is {budget}. Its longest replan takes "
        f"{_against_step(longest)}."
    )
    if step == "enough":
        late = " A robot that must act at every control step needs a shorter replan." * (longest > CONTROL_STEP_MS)
        return f"{lead} {costs} By the mean no cache is needed, and no other lever.{late}"
    if step == "undecided":
        loss = margins.loss_words(row.difference, question.margin)
        effect = f"{text.difference(row.difference, 'without reuse', question.margin)}, {text.count(row.n, 'episode')}"
        return f"{lead} {costs} {loss[0].upper()}{loss[1:]}: {effect}. {_needed(row)}"
    more = {
        "lever": "Nothing is kept, so nothing can be stale.",
        "reuse": "No setting that keeps nothing fits with a loss that is shown to be inside the margin.",
    }[step]
    said = [recommended.recommendation(choice, {question.study.protocol.suite: records}, question.second, _ms(judged))]
    return " ".join(filter(None, [lead, costs, more, *said, recommended.CAUTION]))


def _ms(judged: pd.DataFrame) -> Callable[[Setting], str]:
    return lambda setting: f"{judged.ms[setting]:.1f} ms"


def _needed(row: pd.Series) -> str:
    """How many episodes would decide; of a setting that is shown to be worse than no reuse that is not known."""
    if row.difference.high < 0:
        return "How much it loses, more episodes tell."
    return f"{text.count(row.needed, 'episode')} would decide, if it is as good as no reuse."


def _against_step(ms: float) -> str:
    return f"{ms:.0f} ms, {'within' if ms <= CONTROL_STEP_MS else 'over'} a control step of {CONTROL_STEP_MS:.0f} ms"


def _fits(question: Question, judged: pd.DataFrame) -> str:
    control, fits = judged.loc[NO_REUSE], judged[judged.fits]
    keep_nothing = sum(setting.mode == "none" for setting in fits.index)
    said = (
        f"**With no reuse a control step takes {control.ms:.1f} ms, {'within' if control.fits else 'over'} the "
        f"budget.** That is a mean, by the times of {question.times.name}: the replan itself takes "
        f"{_against_step(longest_ms(question.times, NO_REUSE))}. Of {text.count(len(judged), 'setting')} listed here "
        f"{len(fits)} fit{'s' * (len(fits) == 1)}"
    )
    if all(setting.mode == "none" for setting in judged.index):
        return f"{said}."
    return (
        f"{said}; {keep_nothing or 'none'} of these keep{'s' * (keep_nothing == 1)} nothing of an earlier replan. To "
        "keep something lowers the mean alone: a replan that computes takes as long with a cache."
    )


def _reach(question: Question) -> str:
    settings = question.study.settings
    fit = sum(least_ms(question, setting) <= question.budget_ms for setting in settings)
    return (
        f"**{text.count(fit, 'setting')} can fit the budget of {question.budget_ms:g} ms.** With no reuse a control "
        f"step takes {least_ms(question, NO_REUSE):.1f} ms by the times of {question.times.name}."
    )


def keep(policy: Policy) -> tuple[str, str]:
    """The mode that keeps the most without an old robot state, and why."""
    if not policy.config.pi05:
        return "prefix", (
            "In a Pi0 the robot state is a token of its own beside the prefix: images and instruction may be old while "
            "the state is fresh."
        )
    if policy.prompt_has_state:
        return "vision_only:skip", (
            "The prompt of this Pi0.5 holds the robot state, so that `full` and `prefix` would keep an old one; this "
            "mode keeps the images alone, and reads a fresh prompt."
        )
    return "prefix", "This Pi0.5 has no robot state, as a token or in its prompt: `full` and `prefix` are the same."


def _kept(question: Question, records: Records, judged: pd.DataFrame) -> str:
    """What to keep of the cache, if anything: as the rows say, by what fits and by what is better behind one gate."""
    mode, why = keep(question.study.policy)
    lead, compared = _against_full(question, records, judged, mode)
    caches = judged[[setting.mode not in ("none", "chunk") for setting in judged.index]]
    if len(caches) and not caches.fits.any():
        lead = "None of the caches listed here fits the budget"
        cheapest = f"The cheapest, {tables.lever(caches.index[0])}, takes {caches.ms.iloc[0]:.1f} ms."
        compared = " ".join(filter(None, (cheapest, compared)))
    return f"**{lead}.** {' '.join(filter(None, (why, compared)))}"


def _against_full(question: Question, records: Records, judged: pd.DataFrame, mode: str) -> tuple[str, str]:
    """The mode compared with keeping everything behind one gate, of those recorded the one that reuses most."""
    gates = {setting: replace(setting, mode="full") for setting in judged.index if setting.mode == mode != "full"}
    both = [setting for setting, everything in gates.items() if everything in judged.index]
    if not both:
        return f"If you keep anything of the cache, try `{mode}` first", ""
    setting = max(both, key=lambda one: judged.reuse[one])
    gained = summary.difference(records, setting, gates[setting], question.confidence)
    n = text.count(len(rows.successes(records, setting)), "episode")
    lead = (
        f"If you keep anything of the cache, keep it by `{mode}`"
        if gained.low > 0
        else f"That it is better to keep the cache by `{mode}` than everything is not shown here"
    )
    what = f"Behind the gate {tables.gate(setting)} `{mode}`, with {tables.kept(setting)} kept, solves"
    return lead, f"{what} {text.difference(gained, '`full`, with everything kept')}, {n}."


def verdicts(question: Question, judged: pd.DataFrame) -> pd.DataFrame:
    """A verdict for every setting, beside what it rests on."""
    table = pd.DataFrame(
        {
            "verdict": [_verdict(question, row) for _, row in judged.iterrows()],
            "points": [points(one, question.margin) for one in judged.difference],
            "ms": judged.ms.map("{:.1f}".format),
            "longest": [f"{longest_ms(question.times, setting):.0f}" for setting in judged.index],
            "reuse": judged.reuse.map("{:.0%}".format),
        }
    )
    return table.rename(index=tables.lever).rename_axis(index=None, columns="setting")


def _verdict(question: Question, row: pd.Series) -> str:
    loss = f"; {margins.word(row.difference, question.margin)}" if isinstance(row.loss, str) else ""
    return f"{'fits' if row.fits else 'too slow'}{loss}"


def snippet(question: Question, judged: pd.DataFrame | None) -> str:
    """A control loop with the setting that is recommended, as a block of code; without one it reuses nothing."""
    step, setting, _ = ("nothing", None, None) if judged is None else chosen(question, judged)
    taken = step in ("enough", *CHOSEN)
    why = headline(question, judged) if taken else "nothing is recommended: no reuse"
    setting = setting if taken else NO_REUSE
    return f"""```python
from kvlab.pi0 import load
from kvlab.study.settings import parse_setting

def control(robot, checkpoint, instruction):
    setting = parse_setting("{setting}")  # {why}
    policy = setting.on(load(checkpoint), execute={question.study.protocol.replan_every}, log_signals=False)
    policy.reset(instruction, seed=(0,))
    while not robot.done():
        actions, replan = policy.act(robot.images(), robot.state())
        for action in actions[: replan.executed]:
            robot.execute(action)
        robot.log(replan.reused, replan.age, replan.ms_total)
```"""
