"""Settings that a chapter shows once they are recorded, and runs nothing for."""

import pytest

from kvlab.book.recorded import already, checkpoints, comparable, policy
from kvlab.paths import CHECKPOINTS, ROOT
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NO_REUSE, RECORDED, NOT = Setting("none"), Setting("prefix", "vision >= 0.945"), Setting("prefix", "vision >= 0.1234")


def test_only_what_is_recorded_for_every_episode_is_shown():
    study = Study(ROOT / "data/checkpoints/mini_spatial", (NO_REUSE,), 3)
    assert already(study, [NOT, RECORDED, NO_REUSE, RECORDED]) == [RECORDED]
    assert already(study, [NO_REUSE]) == []
    assert already(study, [NOT]) == []


def test_policies_without_rows_of_no_reuse_are_compared_with_nothing(untrained):
    here = ROOT / "data/checkpoints/mini_spatial"
    wanted = {"mini": Study(here, (NO_REUSE, RECORDED, NOT), 3), "new": Study(untrained, (NO_REUSE, RECORDED), 3)}
    found = comparable(wanted)
    assert [*found] == ["mini"] and found["mini"].settings == (NO_REUSE, RECORDED)
    with pytest.raises(ValueError, match="not one of these policies has all episodes of `none`"):
        comparable({"new": wanted["new"]})


def test_a_policy_is_called_by_its_folder_and_else_by_its_digest():
    known = checkpoints()
    for folder in CHECKPOINTS.values():
        assert policy(checkpoint_digest(folder), known) == folder.name
    assert policy("0123456789abcdef", known) == "checkpoint 0123456789abcdef"
