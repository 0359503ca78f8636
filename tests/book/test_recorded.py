"""Settings that a chapter shows once they are recorded, and runs nothing for."""

from kvlab.book.recorded import already
from kvlab.paths import ROOT
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NO_REUSE, RECORDED, NOT = Setting("none"), Setting("prefix", "vision >= 0.945"), Setting("prefix", "vision >= 0.1234")


def test_only_what_is_recorded_for_every_episode_is_shown():
    study = Study(ROOT / "data/checkpoints/mini_spatial", (NO_REUSE,), 3)
    assert already(study, [NOT, RECORDED, NO_REUSE, RECORDED]) == [RECORDED]
    assert already(study, [NO_REUSE]) == []
    assert already(study, [NOT]) == []
