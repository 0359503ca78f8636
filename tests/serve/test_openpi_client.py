"""An episode over the wire by openpi's own client, unchanged: the same rows as `kvlab run` records, to the bit."""

import numpy as np
import pandas as pd
import pytest

from clients import drive, kvlab_serve
from kvlab.paths import DATA
from kvlab.sim.published import step_limit
from kvlab.sim.workers import by_task
from kvlab.study.protocol import Protocol
from kvlab.study.settings import parse_setting
from kvlab.study.study import Study

CHECKPOINT = DATA / "checkpoints" / "mini_spatial"
SETTING = "prefix when vision >= 0.97"


def test_an_episode_is_that_of_kvlab_run_to_the_bit(gl, tmp_path):
    if gl != Protocol().gl:
        pytest.skip("this machine draws by other means than Mesa")
    study = Study(CHECKPOINT, (parse_setting(SETTING),), 1, folder=tmp_path / "runs")
    ran = study.run(workers=1)
    with kvlab_serve("--checkpoint", CHECKPOINT, "--setting", SETTING, "--log", tmp_path / "log") as (port, _):
        job = (port, 0, study.states[:2], step_limit("libero_spatial"))
        ((found, apart),) = by_task(drive, [(0, [job])], 1, "by openpi's client", "connection")
    (success, steps, told), (_, _, then) = found
    episode, replans = ran.episodes.iloc[0], ran.replans
    assert success and episode["success"] and steps == episode["steps"]
    assert [one["reused"] for one in told] == replans["reused"].tolist() and 0 < replans["reused"].sum()
    assert [one["began"] for one in told] == ["first", *[None] * (len(replans) - 1)]
    # The same instruction from another initial state, of which the client says nothing: as over another connection.
    assert [one["began"] for one in then] == ["jump", *[None] * (len(then) - 1)]
    assert [one["actions"] for one in then] == apart and any(one["reused"] for one in then)
    (log,) = (tmp_path / "log").glob("*.jsonl")
    logged = pd.read_json(log, lines=True)[: len(replans)]
    for name in {*logged.columns} & {*replans.columns} - {"executed"}:  # the last chunk was cut short
        recorded = replans[name].to_numpy(np.float32)
        np.testing.assert_array_equal(logged[name].to_numpy(np.float32), recorded, err_msg=name)
    assert logged["bits"].tolist() == replans["bits"].tolist()
