"""What *Decide for your own policy* asks, what it leaves out, and what it runs."""

import pytest

from kvlab.book.answers import decide_question
from kvlab.paths import CHECKPOINTS
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from made import TIMES

NO_REUSE, FEWER = Setting("none"), Setting("none", denoising_steps=1)
IMAGES, EVERYTHING = Setting("prefix", "vision >= 0.9"), Setting("full", "vision >= 0.9")


def test_a_checkpoint_is_found_by_its_folder_or_its_id_on_the_hub(untrained):
    assert decide_question.find("data/checkpoints/mini_spatial").resolve() == CHECKPOINTS["libero_spatial"].resolve()
    assert decide_question.find(str(untrained)) == untrained
    assert decide_question.find("owner/name") == "owner/name"
    with pytest.raises(
        FileNotFoundError, match="there is no checkpoint mini; here are data/checkpoints/mini_libero_10"
    ):
        decide_question.find("mini")


def test_without_rows_it_is_said_what_would_run_and_nothing_is(untrained, tmp_path):
    """Of a control step, five of which one replan serves, prefix takes at least 57 / 5 ms and full 53 / 5."""
    none = decide_question.Question(Study(untrained, (NO_REUSE,), 100, folder=tmp_path), TIMES, 11, 0.05)
    same, long = Setting("none", denoising_steps=2, execute="5"), Setting("none", execute="9")
    spread = Setting("full", "vision >= 0.9 if spread < 0.1 else 0.99")
    wanted = [same, NO_REUSE, FEWER, IMAGES, EVERYTHING, long, spread]
    asked, (too_long, no_time, left_out) = decide_question.asking(none, wanted)
    assert asked.study.settings == (NO_REUSE, FEWER, EVERYTHING)
    assert too_long == "Left out is `none execute=9`: 9 actions are to be executed, but a chunk has 8 actions."
    assert "of which there is no time" in no_time
    would, compared, off, lacking = decide_question.planned(asked, run=False, workers=2)
    assert would == (
        "Of `libero_spatial` 300 of 300 episodes would be run: about 20 min with 2 workers (of 8.0 s each, as is "
        "assumed, since none is recorded)."
    )
    assert compared.startswith("**No reuse**, the policy's own setting, takes")
    assert off.startswith("`run` is off, so that nothing is run")
    assert lacking == (
        "Not recorded in full for `libero_spatial`, so left out: `none steps=1` and `full when vision >= 0.9`."
    )
    assert left_out.startswith("Left out: `prefix when vision >= 0.9`. However often they reuse, they take more than")
    assert decide_question.read(asked, run=False, workers=2) is None


def test_what_is_asked_for_is_run(untrained, tmp_path, gl):
    study = Study(untrained, (NO_REUSE,), 1, Protocol(gl=gl), folder=tmp_path)
    asked = decide_question.Question(study, TIMES, 12, 0.05)
    assert decide_question.read(asked, run=False, workers=1) is None
    assert len(decide_question.read(asked, run=True, workers=1).episodes) == 1
    assert len(decide_question.read(asked, run=False, workers=1).episodes) == 1
