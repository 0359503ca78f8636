"""*Try this*: what is said of a setting on a few episodes; rows of its own folder, read once they are there."""

import pytest

from kvlab.book import trying
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study

TRIED = Setting("full", "vision >= 0.9")


@pytest.fixture
def study(untrained, make_row, tmp_path):
    """A study of which nothing is recorded, and what was tried beside it: task 0 fails, tasks 1 and 2 are solved."""
    there = Study(untrained, (Setting("none"), TRIED), 3, Protocol(), folder=tmp_path / "tried")
    for task in range(3):
        there.recording(Setting("none")).add(make_row(task=task) | {"success": True})
        there.recording(TRIED).add(make_row(task=task, reuses=True))
    return Study(untrained, (Setting("none"),), 100, Protocol(), folder=tmp_path / "runs")


def test_what_was_tried_is_read_and_told_with_how_little_it_says(study):
    assert trying.attempt(study, "full when vision >= 0.9").data == (
        "**`full when vision >= 0.9`: 2 of 3 episodes** succeeded, with 33 % of replans reused; without reuse 3 did. "
        "After 3 episodes the true rate may be anything from 9 % to 99 % (95 %)."
    )
    assert not (study.folder).exists()  # a chapter's rows are not touched


def test_one_episode_and_no_reuse_itself(study):
    said = trying.attempt(study, "none", episodes=1).data
    assert said.startswith("**`none`: 1 of 1 episode** succeeded, with 0 % of replans reused; without reuse 1 did.")


def test_a_setting_that_cannot_be_read_is_said(study):
    with pytest.raises(ValueError, match="has no gate"):
        trying.attempt(study, "full")
