"""A world that does not wait: how long a replan takes. What the robot does meanwhile: test_rollout."""

import pandas as pd
import pytest

from kvlab.study import clock
from kvlab.study.clock import Clock, Delays, parse_clock
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from kvlab.study.times import Latency

NONE = Setting("none")


@pytest.fixture
def simple(monkeypatch) -> None:
    """A full inference of 100 ms: 20 vision, 30 prefill, 50 denoising; the prefill of `prefix` takes 4."""
    stages = {
        "none": (0, 20, 30, 50),
        "full when pixels >= -1": (1, 0, 0, 50),
        "prefix when pixels >= -1": (1, 0, 4, 50),
    }
    stages["full when vision >= -1"] = (2, 20, 0, 50)
    table = pd.DataFrame.from_dict(stages, orient="index", columns=["gate", "vision", "prefill", "denoise"])
    monkeypatch.setattr(clock, "_latency", lambda machine: Latency(machine, table))


@pytest.mark.parametrize(
    ("setting", "full_ms", "computed", "reused"),
    [
        ("none", 0, 0, 0),
        ("none", 50, 1, 1),
        ("none", 51, 2, 2),
        ("none", 200, 4, 4),
        ("none steps=5", 400, 6, 6),  # 75 % of 8
        ("none steps=1", 400, 5, 5),  # 55 % of 8, rounded up
        ("prefix when every(2)", 400, 8, 5),  # 54 %
        ("prefix when every(2) steps=2", 400, 5, 2),  # 60 and 14 %
        ("full when vision >= 0.9", 400, 9, 6),  # 102 and 72 %
        ("chunk when every(2)", 400, 8, 0),
        ("chunk when vision >= 0.9", 400, 9, 2),  # 22 %
        ("chunk when verify <= 0.1", 400, 9, 1),  # 1 for the gate, 4 for the state, 5 for one look: 110 and 10 %
    ],
)
def test_delays_are_the_share_of_a_full_inference_in_whole_control_steps(simple, setting, full_ms, computed, reused):
    assert Clock(full_ms).delays(parse_setting(setting)) == Delays(computed, reused)


@pytest.mark.parametrize("machine", ["cpu", "h100"])
def test_recorded_times_give_a_full_inference_exactly_what_is_said(machine):
    for full_ms, steps in ((0, 0), (50, 1), (100, 2), (200, 4), (400, 8), (800, 16)):
        assert Clock(full_ms, machine).delays(NONE) == Delays(steps, steps)
    few = Clock(800, machine).delays(parse_setting("prefix when every(2) steps=2"))
    assert 0 < few.reused < few.computed < 16


@pytest.mark.parametrize("text", ["0ms", "200ms", "12.5ms", "200ms hold", "200ms h100", "800ms h100 hold"])
def test_the_text_form_is_read_as_it_is_printed(text):
    assert str(parse_clock(text)) == text
    assert parse_clock(f" {text.replace('ms', ' ms')} ") == parse_clock(text) == parse_clock(text.replace("ms", ""))


@pytest.mark.parametrize("text", ["", "fast", "-5ms", "200s", "200ms tpu", "200ms hold h100", "200ms hold on"])
def test_what_is_no_real_time_is_said(text):
    with pytest.raises(
        ValueError, match="cannot read the real time .*: write how long a full inference takes, `200ms`"
    ):
        Protocol(real_time=text)


def test_real_time_is_part_of_the_key_where_the_world_goes_on():
    waits, few = Protocol(), parse_setting("none steps=1")
    assert Protocol(real_time="0ms").key(NONE) == Protocol(real_time="0ms hold").key(NONE) == waits.key(NONE)
    assert Protocol(real_time="200ms").key(NONE) == waits.key(NONE) | {
        "delays": {"computed": 4, "reused": 4, "holds": False}
    }
    keys = [Protocol(real_time=t).key(NONE)["delays"] for t in ("200ms", "190ms", "250ms", "200ms hold")]
    assert keys[0] == keys[1] and keys[2] != keys[0] != keys[3]  # what comes to the same delays is the same episode
    assert Protocol(real_time="200ms").key(few) != Protocol(real_time="200ms").key(NONE)


def test_a_delay_that_no_chunk_covers_is_said_before_any_episode(untrained):
    Study(untrained, (NONE,), 1, Protocol(real_time="350ms"))
    with pytest.raises(
        ValueError, match="at 400ms an inference of `none` takes 8 control steps, and no chunk of 8 actions covers them"
    ):
        Study(untrained, (NONE,), 1, Protocol(real_time="400ms"))
    Study(untrained, (NONE,), 1, Protocol(real_time="400ms hold"))
    with pytest.raises(ValueError, match="of which there is no time"):
        Study(untrained, (parse_setting("layer_wise[1:]:skip when spread < 1"),), 1, Protocol(real_time="50ms"))
