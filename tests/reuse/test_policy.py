"""`CachedPolicy` in closed loop: decisions, records, noise, and that an episode leaves nothing behind."""

import copy
import math
from collections import Counter
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch

from kvlab.pi0.cache import LANGUAGE
from kvlab.pi0.layers import GemmaLayer
from kvlab.pi0.policy import resize_with_pad
from kvlab.reuse import CachedPolicy, Replan, parse_gate, parse_mode
from kvlab.reuse.gates import SIMILARITIES
from kvlab.reuse.inputs import Inputs, Stopwatch
from kvlab.reuse.phase import PHASES, SAMPLES

STAGES = ("ms_gate", "ms_vision", "ms_prefill", "ms_denoise")


def rollout(policy, mode, gate, observations, instruction="pick up the bowl", seed=(1, 2), **options):
    """All chunks, and all records, of one episode."""
    cached = CachedPolicy(policy, parse_mode(mode), parse_gate(gate), **options)
    return episode(cached, observations, instruction, seed)


def episode(cached, observations, instruction="pick up the bowl", seed=(1, 2)):
    cached.reset(instruction, seed)
    chunks, records = zip(*(cached.act(o.images, o.state) for o in observations), strict=True)
    return np.stack(chunks), records


def untimed(records: list[Replan]) -> list[str]:
    """Records without times, as text, in which NaN equals NaN."""
    return [repr(replace(r, ms_total=0, **dict.fromkeys(STAGES, 0))) for r in records]


@pytest.fixture
def calls(policy, monkeypatch) -> Counter:
    """How often each part of the model has run."""
    counter = Counter()

    def count(name):
        original = getattr(policy.model, name)

        def counted(*arguments, **options):
            counter[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(policy.model, name, counted)

    for name in ("embed_images", "prefill", "encode_state", "denoise"):
        count(name)
    return counter


def test_no_token_is_padding_and_no_value_is_looked_at_to_know_it(policy, observations, monkeypatch):
    """On a device without values: what waits for a GPU fails there. No layer attends through a mask."""
    model, attend, masks = copy.deepcopy(policy.model).to("meta"), GemmaLayer.attend, []

    def watched(*given, attn_mask=None):
        masks.append(attn_mask)
        return attend(*given, attn_mask=attn_mask)

    monkeypatch.setattr(GemmaLayer, "attend", staticmethod(watched))
    there, clock = replace(policy, model=model), Stopwatch(torch.device("meta"))
    inputs = Inputs(there, observations[0].images, observations[0].state, there.tokens("pick up the bowl"), clock)
    cache = model.encode_state(inputs.state, model.prefill(inputs.embeds((*model.config.cameras, LANGUAGE))))
    chunk = model.denoise(cache, torch.zeros(1, 4, 3, dtype=torch.float64, device="meta"))
    assert chunk.is_meta and masks == [None] * (2 + 2 + 3 * 3)  # the last layer of the first two only projects


def test_stages_on_a_gpu_are_times_between_its_events_and_it_is_waited_for_once(monkeypatch):
    events, waits = [], []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            events.append(self)

        def elapsed_time(self, later):
            return 2.5 * (events.index(later) - events.index(self))

        def synchronize(self):
            waits.append(self)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the stream")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: pytest.fail("waited for the GPU"))
    clock = Stopwatch(torch.device("cuda"))
    for stage in ("gate", "vision", "gate", "denoise"):
        clock.lap(stage)
    assert waits == []
    assert clock.ms() == {"gate": 5.0, "vision": 2.5, "prefill": 0.0, "denoise": 2.5} and waits == events[-1:]


@pytest.fixture
def turning(observations):
    """Ten moments whose state turns by ten degrees each, with everything else unchanged."""
    angles = [math.radians(10 * i) for i in range(10)]
    states = [np.array([math.cos(a), math.sin(a), 0, 0], np.float32) for a in angles]
    return [replace(observations[0], state=s) for s in states]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_every_k_computes_exactly_every_kth(policy, observations, k):
    _, records = rollout(policy, "full", f"every({k})", observations * 2)
    assert [r.age for r in records] == [n % k for n in range(10)]
    assert [r.reused for r in records] == [n % k > 0 for n in range(10)]


@pytest.mark.parametrize(("k", "computed"), [(2, 1), (3, 2), (4, 2), (5, 2)])
def test_every_k_may_compute_several_in_a_row(policy, observations, k, computed):
    _, records = rollout(policy, "full", f"every({k}, {computed})", observations * 2)
    assert [r.age for r in records] == [max(0, n % k - computed + 1) for n in range(10)]
    assert [r.reused for r in records] == [n % k >= computed for n in range(10)]


def test_age_limits_how_long_a_cache_lives(policy, turning):
    _, records = rollout(policy, "full", "state >= -1 & age < 4", turning)
    assert [r.age for r in records] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize(("gate", "reused"), [("always", [False] + [True] * 4), ("never", [False] * 5)])
def test_always_and_never(policy, observations, gate, reused):
    _, records = rollout(policy, "prefix", gate, observations)
    assert [r.reused for r in records] == reused


def test_none_never_reuses(policy, observations):
    _, records = rollout(policy, "none", "always", observations)
    assert not any(r.reused for r in records) and all(r.age == 0 for r in records)


def test_anchor_is_the_last_computed_step_and_previous_the_one_before(policy, turning):
    """A slow turn: each step is close to the one before, while the anchor falls behind until it is renewed."""
    _, near = rollout(policy, "full", "state@previous >= 0.95", turning)
    assert [r.age for r in near] == list(range(10))
    _, far = rollout(policy, "full", "state >= 0.9", turning)  # 25.8 degrees
    assert [r.age for r in far] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    for records in (near, far):
        assert math.isnan(records[0].state_anchor) and math.isnan(records[0].state_previous)
        for record, before in zip(records[1:], records, strict=False):
            turned = 10 * (before.age + 1)  # since the anchor of this decision
            assert record.state_anchor == pytest.approx(math.cos(math.radians(turned)), abs=1e-6)
            assert record.state_previous == pytest.approx(math.cos(math.radians(10)), abs=1e-6)


def test_a_threshold_is_reached_by_being_equal(policy, turning):
    _, records = rollout(policy, "full", "vision >= 1 & pixels@previous >= 1", turning)  # the camera stands still
    assert all(r.reused for r in records[1:])


def test_every_term_must_hold(policy, turning, observations):
    """The camera stands still and the state turns, then the other way round."""
    gate = "vision >= 0.999 & state >= 0.99"
    still, changed = turning[0], replace(turning[0], images=observations[1].images)
    _, records = rollout(policy, "full", gate, [still, still, turning[1], turning[1], changed, changed])
    assert [r.reused for r in records] == [False, True, False, True, False, True]


def test_signals_are_cosines_of_what_they_say(policy, observations):
    """By hand: image tokens, frames averaged over 2 x 2 pixels (32 to 16), state."""

    def moment(o):
        frames = resize_with_pad(np.stack([o.images[c] for c in ("agentview", "wrist")]), 32).double()
        small = frames.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
        return {"vision": policy.model.embed_images(frames), "pixels": small, "state": torch.from_numpy(o.state)}

    def cosine(a, b):
        a, b = a.double().numpy().ravel(), b.double().numpy().ravel()
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    _, records = rollout(policy, "full", "every(3)", observations)
    moments = [moment(o) for o in observations]
    for n, anchor in [(1, 0), (2, 0), (3, 0), (4, 3)]:
        for signal in ("vision", "pixels", "state"):
            for reference, then in (("anchor", anchor), ("previous", n - 1)):
                expected = cosine(moments[n][signal], moments[then][signal])
                assert getattr(records[n], f"{signal}_{reference}") == pytest.approx(expected, abs=1e-6)
    assert len({round(getattr(records[2], signal), 6) for signal in SIMILARITIES}) == len(SIMILARITIES)  # none alike


def test_a_record_tells_its_chunk(policy, observations):
    chunks, records = rollout(policy, "none", "never", observations)
    assert chunks.shape == (5, 4, 3) and chunks.dtype == np.float32
    for chunk, record in zip(chunks, records, strict=True):
        assert record.bits == crc32(chunk.tobytes())
        assert record.ms_total == pytest.approx(sum(getattr(record, s) for s in STAGES))
        assert all(getattr(record, s) > 0 for s in STAGES)


MODES = ("none", "full", "prefix", "vision_only:skip", "state_only:splice", "layer_wise:splice", "text_fixed:skip")


@pytest.mark.parametrize("gate", ["vision@previous >= -1 & age < 3", "every(3)"])
@pytest.mark.parametrize("mode", MODES)
def test_reset_forgets_everything(policy, observations, mode, gate):
    expected, records = rollout(policy, mode, gate, observations)
    cached = CachedPolicy(policy, parse_mode(mode), parse_gate(gate))
    episode(cached, observations[::-1][:2], "place it on the plate", seed=(7,))
    again, records_again = episode(cached, observations)
    np.testing.assert_array_equal(again, expected)
    assert untimed(records_again) == untimed(records)


def test_a_new_instruction_is_heard(policy, observations):
    first, _ = rollout(policy, "none", "never", observations[:1])
    other, _ = rollout(policy, "none", "never", observations[:1], instruction="place it on the plate")
    assert abs(first - other).max() > 1e-3


def test_noise_depends_on_seed_and_replan_alone(policy, observations, monkeypatch):
    seen, denoise = [], policy.model.denoise
    monkeypatch.setattr(policy.model, "denoise", lambda cache, noise, *_: seen.append(noise) or denoise(cache, noise))

    def noises(*arguments, **options):
        seen.clear()
        torch.manual_seed(len(arguments[0]))  # what others draw must not matter
        np.random.seed(len(arguments[1]))
        rollout(policy, *arguments, **options)
        return torch.cat(seen)

    control = noises("none", "never", observations)
    assert torch.equal(control, noises("full", "every(2)", observations))
    assert torch.equal(control, noises("vision_only:skip", "always", observations[::-1], log_signals=False))
    assert torch.equal(control, noises("none", "never", observations, instruction="place it on the plate"))
    for seed in ((1, 3), (2, 1), (1,), (1, 2, 0, 1)):
        assert (control - noises("none", "never", observations, seed=seed)).abs().min() > 0, seed
    assert control.unique().numel() == control.numel()
    assert abs(control.mean()) < 0.4 and 0.7 < control.std() < 1.3


@pytest.mark.parametrize(
    ("gate", "read"),
    [
        ("always", set()),
        ("every(2)", set()),
        ("pixels >= 0 & age < 3", {"pixels_anchor"}),
        ("vision@previous >= 0.5", {"vision_previous"}),
        ("state >= 0 & vision >= -1", {"state_anchor", "vision_anchor"}),
    ],
)
@pytest.mark.parametrize("mode", ["full", "vision_only:splice"])
def test_unread_signals_may_be_left_out(policy, observations, mode, gate, read):
    """NaN in the record; decisions, actions and what the gate reads are the same."""
    expected, logged = rollout(policy, mode, gate, observations)
    chunks, records = rollout(policy, mode, gate, observations, log_signals=False)
    np.testing.assert_array_equal(chunks, expected)
    for lean, full in zip(records[1:], logged[1:], strict=True):
        assert (lean.reused, lean.age) == (full.reused, full.age)
        for name in SIMILARITIES:
            assert math.isnan(getattr(full, name)) is False
            value = getattr(lean, name)
            assert value == getattr(full, name) if name in read else math.isnan(value)


def test_a_gate_on_pixels_saves_the_encoder(policy, observations, calls):
    """Mode `full` with an open gate runs nothing but the denoising, and says so in its times."""
    _, records = rollout(policy, "full", "pixels >= -1", observations, log_signals=False)
    assert calls == {"embed_images": 1, "prefill": 1, "encode_state": 1, "denoise": 5}
    assert records[0].ms_vision > 0 and all(r.ms_vision == 0 for r in records[1:])


def test_logging_signals_costs_one_encoding_a_replan(policy, observations, calls):
    rollout(policy, "full", "pixels >= -1", observations)
    assert calls["embed_images"] == 5
    rollout(policy, "none", "never", observations, log_signals=False)
    assert calls["embed_images"] == 10


def test_a_shut_gate_on_pixels_computes(policy, observations, calls):
    rollout(policy, "full", "pixels >= 1", observations, log_signals=False)
    assert calls == dict.fromkeys(("embed_images", "prefill", "encode_state", "denoise"), 5)


def test_acting_before_the_first_reset(policy, observations):
    cached = CachedPolicy(policy, parse_mode("none"), parse_gate("never"))
    with pytest.raises(RuntimeError, match="call reset"):
        cached.act(observations[0].images, observations[0].state)


def test_observations_that_do_not_fit(policy, observations):
    cached = CachedPolicy(policy, parse_mode("none"), parse_gate("never"))
    with pytest.raises(ValueError, match="has 8 tokens; this model takes at most 6"):
        cached.reset("pick up the bowl and place it there", (0,))
    cached.reset("pick up the bowl", (0,))
    with pytest.raises(ValueError, match="takes a state of 4 numbers"):
        cached.act(observations[0].images, np.zeros(8, np.float32))
    with pytest.raises(KeyError, match="no camera"):
        cached.act({"agentview": observations[0].images["agentview"]}, observations[0].state)


def test_the_spread_is_sampled_where_the_gate_asks_and_changes_no_action(policy, observations):
    plain, logged = rollout(policy, "full", "vision >= 1", observations)
    chunks, records = rollout(policy, "full", "vision >= 1 if spread < 0 else 1", observations)
    assert np.array_equal(plain, chunks)
    assert all(np.isnan(r.spread) for r in logged)
    assert np.isnan(records[0].spread) and all(r.spread > 0 for r in records[1:])  # known after the first answer


def test_phases_are_those_of_what_was_seen_and_answered_before(policy, observations, monkeypatch):
    """Of the last two answers, the last three places of the hand, and samples of the last computed cache."""
    sampled, denoise = [], policy.model.denoise

    def watched(cache, noise, *watch):
        answer = denoise(cache, noise, *watch)
        if len(noise) > 1:
            sampled.append((noise.float().numpy(), answer.numpy()))
        return answer

    monkeypatch.setattr(policy.model, "denoise", watched)
    chunks, records = rollout(policy, "full", "age < 2 & vision >= -1 if spread < 9 else -1", observations)
    assert [r.age for r in records] == [0, 1, 0, 1, 0]
    for (noise, _), replan in zip(sampled, (0, 2, 4), strict=True):
        drawn = np.random.default_rng([1, 2, replan, 1]).standard_normal((SAMPLES, 4, 3), dtype=np.float32)
        assert np.array_equal(noise, drawn)
    spreads = [math.sqrt(answer.var(axis=0).mean()) for _, answer in sampled]
    moves = np.diff([o.state[:3].astype(float) for o in observations], axis=0)
    moves /= np.linalg.norm(moves, axis=1, keepdims=True)
    for n, record in enumerate(records[1:], start=1):
        assert record.spread == pytest.approx(spreads[(n - 1) // 2], rel=1e-5)
        assert record.gripper == pytest.approx(np.ptp(chunks[max(0, n - 2) : n, :, -1]), rel=1e-5)
        assert n == 1 or record.curvature == pytest.approx(math.acos(moves[n - 2] @ moves[n - 1]), rel=1e-5)
    assert all(math.isnan(getattr(records[0], phase)) for phase in PHASES) and math.isnan(records[1].curvature)
