"""What every machine computes with portable numerics: hashes that are the same on each, down to a whole episode."""

import pytest

from kvlab.paths import DATA
from kvlab.sim.workers import by_task
from kvlab.study import fingerprint
from kvlab.study.fingerprint import PORTABLE, check_bits, digest
from kvlab.study.stages import stages

CHECKPOINT = DATA / "checkpoints" / "mini_spatial"
SPATIAL = {  # of its first episode
    "image tokens": "852c6706c550",
    "prefix": "0abd922f2ab6",
    "state token": "517abe81d15b",
    "chunk": "09d09cac271f",
    "reset": "00920c133f6e",
    "40 control steps": "39ea8d427b4f",
    "replan 0": "f2b65e4070bc",
    "replan 13": "f6baf1e2bb11",
    "episode": "success after 67 control steps",
}


@pytest.fixture(scope="module")
def found():
    return [*by_task(stages, [(0, [(CHECKPOINT,)]), (1, [(CHECKPOINT,)])], 2, "hashing", "process")]


def test_every_process_computes_alike(found):
    assert found[0] == found[1]


def test_an_episode_has_the_bits_that_it_has_everywhere(found):
    assert {name: found[0][name] for name in PORTABLE | SPATIAL} == PORTABLE | SPATIAL


def test_what_is_no_number_has_no_digest():
    with pytest.raises(TypeError, match="not objects such as None"):
        digest([1.0], None)


def test_a_machine_of_other_bits_is_told_what_differs(monkeypatch):
    """As one whose torch and glibc are others."""
    check_bits.cache_clear()
    monkeypatch.setattr(fingerprint, "fingerprint", lambda: PORTABLE | {"libm": "0" * 12, "torch": "1" * 12})
    with pytest.raises(ValueError, match="computes libm, torch to other bits than portable numerics .*torch [0-9]"):
        check_bits()
    monkeypatch.setattr(fingerprint, "fingerprint", lambda: PORTABLE)
    check_bits()
    check_bits.cache_clear()
