"""What *Decide for your own policy* says of made rows, and where there are none; its snippet runs."""

import re
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest

from kvlab.book import execution
from kvlab.book.answers import decide, decide_episodes, decide_thresholds
from kvlab.book.answers.decide_question import Question
from kvlab.evidence import decision
from kvlab.paths import BOOK, DATA
from kvlab.reuse.gates import SIMILARITIES
from kvlab.reuse.phase import PHASES
from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import task
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from made import TIMES, made

NO_REUSE, FEWER = Setting("none"), Setting("none", denoising_steps=1)
IMAGES, EVERYTHING = Setting("prefix", "vision >= 0.9"), Setting("full", "vision >= 0.9")
SETTINGS = (NO_REUSE, FEWER, IMAGES, EVERYTHING)


def question(checkpoint, tmp_path, budget_ms=12, margin=0.05) -> Question:
    return Question(Study(checkpoint, SETTINGS, 100, folder=tmp_path), TIMES, budget_ms, margin)


def rows(fewer=100, images=100, everything=100) -> Records:
    """Of 100 episodes so many succeed, without reuse all; four replans in 20 control steps, of which half may reuse.

    The images of every second replan are alike (0.95), those of the others are not (0.5).
    """
    many = dict(zip(SETTINGS, (100, fewer, images, everything), strict=True))
    records = made({s: [(n < many[s], 20, [False, s.mode != "none"] * 2) for n in range(100)] for s in SETTINGS})
    replans = records.replans.assign(**dict.fromkeys((*SIMILARITIES, *PHASES), np.nan))
    later = replans.replan > 0
    for signal in decide_thresholds.SIGNALS:
        replans.loc[later, signal] = np.where(replans.replan[later] % 2, 0.95, 0.5)
    return replace(records, replans=replans)


def said(question, records) -> tuple[list[str], pd.DataFrame]:
    judged = decision.judge(records, NO_REUSE, question.times, question.budget_ms, question.margin)
    return decide.findings(question, records, judged, 2), judged


def test_a_cheaper_lever_comes_before_a_cache(untrained, tmp_path):
    (taken, fits, kept, confirmed), judged = said(question(untrained, tmp_path), rows(everything=60))
    assert taken.startswith(
        "**Try 1 denoising step first.** A control step takes 7.0 ms of inference; the budget is 12 ms."
    )
    assert "Nothing is kept, so nothing can be stale. Of the settings listed here it is the cheapest that is shown" in (
        taken
    )
    assert "No second seed is recorded that could confirm it. Points" in taken
    assert taken.endswith(" 0 (-4 to 4) in `libero_spatial`, 100 episodes. A larger policy may lose: test yours.")
    assert fits.startswith("**With no reuse a control step takes 14.2 ms, over the budget.**")
    assert "the replan itself takes 71 ms, over a control step of 50 ms." in fits
    assert "Of 4 settings listed here 1 fits; 1 of these keeps nothing of an earlier replan." in fits
    assert "takes as long with a cache" in fits
    assert "Its longest replan takes 35 ms, within a control step of 50 ms." in taken
    assert kept.startswith("**None of the caches listed here fits the budget.** In a Pi0 the robot state is a")
    assert "The cheapest, everything kept, images ≥ 0.9, takes 12.6 ms. Behind the gate images ≥ 0.9 `prefix`" in kept
    assert kept.endswith("solves 40 points more than `full`, with everything kept (31 to 50), 100 episodes.")
    assert confirmed.startswith(
        "**Confirm it with another seed.** That has the same tasks and initial states, with other"
    )
    assert "It was chosen among 3 settings" in confirmed
    assert "For 1 denoising step it takes 110 episodes to exclude a loss of 5 points" in confirmed
    assert confirmed.endswith(
        'Set `settings` to `["none steps=1"]`, `run` to `True`, `episodes` to 100 and `seed` to 1 and then to 2: a '
        "seed has 100 episodes."
    )
    assert decide.headline(question(untrained, tmp_path), judged) == "Try 1 denoising step first"


@pytest.mark.parametrize(
    ("lost", "lead", "advice"),
    [
        (0, "**A second seed confirms it; tasks and initial states were the same.**", "Take 1 denoising step"),
        (3, "**Confirm it with a third seed.**", "Try 1 denoising step first"),
        (30, "**Choose another setting, and confirm that one.**", "Do not rely on 1 denoising step"),
    ],
)
def test_a_second_seed_says_what_is_left_to_do(untrained, tmp_path, make_row, lost, lead, advice):
    asked = question(untrained, tmp_path)
    again = replace(asked.study, settings=(NO_REUSE, FEWER), seed=1)
    for setting, failed in ((NO_REUSE, 0), (FEWER, lost)):
        for n, (task_, state) in enumerate(again.trials()):
            again.recording(setting).add(make_row(task_, state, seed=1) | {"success": n >= failed})
    (taken, *_, last), _ = said(asked, rows(everything=60))
    assert taken.startswith(f"**{advice}.**")
    points = {0: "0 (-4 to 4)", 3: "-3 (-8 to 1)", 30: "-30 (-40 to -22)"}[lost]
    assert f"Points by the second seed, which chose none: {points} in `libero_spatial`, 100 episodes." in taken
    assert last.startswith(lead)
    assert ("For 1 denoising step it takes 155 episodes to exclude a loss of 5 points" in last) == (lost == 3)
    assert last.endswith("`episodes` to 100 and `seed` to 2 and then to 3: a seed has 100 episodes.") == (lost == 3)


def test_what_to_keep_follows_the_rows(untrained, tmp_path):
    asked = question(untrained, tmp_path, 13.5)
    better = said(asked, rows(everything=60))[0][2]
    assert better.startswith(
        "**If you keep anything of the cache, keep it by `prefix`.** In a Pi0 the robot state is a"
    )
    alike = said(asked, rows())[0][2]
    assert alike.startswith("**That it is better to keep the cache by `prefix` than everything is not shown here.** In")
    _, judged = said(asked, rows())
    alone = decide._kept(asked, rows(), judged.drop(EVERYTHING))
    assert (
        alone.startswith("**If you keep anything of the cache, try `prefix` first.**")
        and "with everything" not in alone
    )


@pytest.mark.parametrize(
    ("budget_ms", "solved", "starts"),
    [
        (20, {}, "**Change nothing.** A control step takes 14.2 ms of inference; the budget is 20 ms. Its"),
        (13.5, {"fewer": 60}, "**Try everything kept, images ≥ 0.9 first.** A control step takes"),
        (13.5, {"fewer": 97, "images": 60, "everything": 60}, "**Run more episodes of one: 1 denoising step.**"),
        (12, {"fewer": 60}, "**Nothing that fits is good enough.** Every setting within 12 ms loses over 5 points."),
        (5, {}, "**Nothing fits the budget.** With 1 denoising step, the cheapest listed here, a control step"),
    ],
)
def test_the_recommendation_follows_the_rows(untrained, tmp_path, budget_ms, solved, starts):
    found, _ = said(question(untrained, tmp_path, budget_ms), rows(**solved))
    assert found[0].startswith(starts)


def test_a_mean_that_fits_does_not_hide_a_replan_that_is_too_long(untrained, tmp_path):
    taken = said(question(untrained, tmp_path, 20), rows())[0][0]
    assert "Its longest replan takes 71 ms, over a control step of 50 ms. By the mean no cache is needed" in taken
    assert taken.endswith("A robot that must act at every control step needs a shorter replan.")


def test_where_nothing_fits_there_is_a_next_step(untrained, tmp_path):
    assert (
        "takes 7.0 ms, not 5 ms. Next: time the policy on a faster machine"
        in said(question(untrained, tmp_path, 5), rows())[0][0]
    )


def test_a_loss_that_is_shown_is_not_decided_by_more_episodes(untrained, tmp_path):
    asked = question(untrained, tmp_path, 13.5)
    found = rows(fewer=94, images=60, everything=60)
    (taken, *_), judged = said(asked, found)
    assert taken.startswith("**Run more episodes of one: 1 denoising step.**")
    assert "points are lost; whether more than 5 is open" in taken and "would decide" not in taken
    assert "1 denoising step" not in decide_episodes.design(asked, found, judged).index


def test_every_setting_has_a_verdict(untrained, tmp_path):
    asked = question(untrained, tmp_path)
    found = rows(fewer=97, everything=60)
    _, judged = said(asked, found)
    table = decide.verdicts(asked, judged)
    assert table.verdict.to_dict() == {
        "1 denoising step": "fits; open",
        "everything kept, images ≥ 0.9": "too slow; over 5",
        "images, instruction kept, images ≥ 0.9": "too slow; under 5",
        "no reuse": "too slow",
    }
    assert table.longest.to_dict() == {**dict.fromkeys(table.index, "73"), "1 denoising step": "35", "no reuse": "71"}
    assert decide_episodes.design(asked, found, judged).loc["1 denoising step"].to_list() == ["3 of 100", "155", "53"]


def test_thresholds_are_those_that_the_replans_without_reuse_reach(untrained):
    """Two of four replans are alike, one is not, and the first has nothing to be like."""
    table = decide_thresholds.table(rows())
    assert table.loc["50%"].to_list() == ["0.9500"] * 3 and table.loc["75%"].to_list() == ["0.5000"] * 3
    words = decide_thresholds.words(rows())
    assert "`vision >= 0.985` would allow 0 % of replans" in words
    assert words.endswith("2 gates that compare were tried; the share came out within no point of the prediction.")


def test_what_to_keep_depends_on_where_the_robot_state_is():
    def policy(pi05: bool, in_prompt: bool = False):
        return SimpleNamespace(config=SimpleNamespace(pi05=pi05), prompt_has_state=in_prompt)

    assert decide.keep(policy(False))[0] == "prefix"
    mode, why = decide.keep(policy(True, in_prompt=True))
    assert mode == "vision_only:skip" and "`full` and `prefix` would keep an old one" in why
    assert "are the same" in decide.keep(policy(True))[1]


def test_without_rows_there_is_no_verdict(untrained, tmp_path):
    asked = replace(
        none := question(untrained, tmp_path, budget_ms=11), study=replace(none.study, settings=SETTINGS[:2])
    )
    nothing, reach, kept = decide.findings(asked, None, None, workers=2)
    assert nothing.startswith("**There is no verdict yet.** Nothing is recorded yet. 200 of 200 episodes would be run")
    assert reach.startswith("**1 setting can fit the budget of 11 ms.** With no reuse a control step takes 14.2 ms")
    assert kept.startswith("**If you keep anything of the cache")


def outputs(notebook) -> str:
    shown = [
        output.get("data", {}).get("text/markdown", "") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    return "\n".join(shown)


def test_the_notebook_of_a_checkpoint_without_rows_says_so_to_its_end(untrained, tmp_path):
    """As a batch queue would run it: it ends well, and nothing was run."""
    given = {"checkpoint": str(untrained), "rows": str(tmp_path / "rows")}
    out = execution.execute(BOOK / "decide.md", tmp_path / "out.ipynb", given, bar=False)
    text = outputs(nbformat.read(out, as_version=4))
    assert "episodes would be run: about" in text and "**There is no verdict yet.**" in text
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"checkpoint": "mini"},
            "there is no checkpoint mini; here are data/checkpoints/mini_libero_10",
        ),
        ({"suite": "libero_90"}, "libero_spatial"),
        ({"settings": ["half when always"]}, "unknown mode 'half': modes are none, full, prefix"),
        ({"machine": "toaster"}, "no machine is called 'toaster'; times are recorded of cpu, h100"),
        ({"budget_ms": 0.0}, "parameter 'budget_ms' must be float"),
    ],
)
def test_what_there_is_not_is_said_in_one_sentence(tmp_path, given, says):
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        execution.execute(BOOK / "decide.md", tmp_path / "out.ipynb", given, bar=False)
    assert "failed with ParameterError" in str(error.value)


class Robot:
    """What the snippet needs of a robot, by LIBERO; it is done after so many control steps."""

    def __init__(self, env: LiberoEnv, steps: int):
        self.env, self.left, self.logged = env, steps, []

    def done(self) -> bool:
        return self.left <= 0

    def images(self):
        return self.env.observe().images

    def state(self):
        return self.env.state()

    def execute(self, action) -> None:
        self.env.step(np.clip(action, -1, 1))
        self.left -= 1

    def log(self, reused: bool, age: int, ms: float) -> None:
        self.logged.append((reused, age, ms))


@pytest.mark.parametrize(
    ("solved", "line"),
    [
        ({}, 'parse_setting("none steps=1")  # Try 1 denoising step first'),
        (
            {"fewer": 60, "images": 60},
            'parse_setting("full when vision >= 0.9")  # Try everything kept, images ≥ 0.9 first',
        ),
        ({"fewer": 60, "images": 60, "everything": 60}, 'parse_setting("none")  # nothing is recommended: no reuse'),
    ],
)
def test_the_snippet_has_the_recommended_setting_and_controls_a_robot(untrained, tmp_path, solved, line):
    asked = question(untrained, tmp_path, 13.5)
    fenced = decide.snippet(asked, said(asked, rows(**solved))[1])
    snippet = fenced.removeprefix("```python\n").removesuffix("```")
    assert line in snippet and len(snippet.splitlines()) <= 16
    exec(snippet, names := {})
    one = task("libero_spatial", 0)
    env = LiberoEnv(one)
    env.reset(initial_state=40, seed=0)
    names["control"](robot := Robot(env, 20), DATA / "checkpoints" / "mini_spatial", one.language)
    env.close()
    reused, age, ms = zip(*robot.logged, strict=True)
    assert len(robot.logged) == 4 and robot.left == 0  # five actions of each chunk
    assert any(reused) == ("full" in line) and min(ms) > 0


def test_the_snippet_without_rows_reuses_nothing(untrained, tmp_path):
    assert 'parse_setting("none")' in decide.snippet(question(untrained, tmp_path), None)
