"""Going on in the chunk that is there: what is returned, when it is not enough, and the signals about it, by hand."""

import math
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch

from kvlab.reuse import CachedPolicy, parse_execution, parse_gate, parse_mode
from kvlab.reuse.execution import Execution, end_point_spread

NOISED, LEFT = 0.1, 2  # FLASH's time of a noised draft; actions left of four after two


def acting(policy, mode="chunk", gate="always", execute="2", **options) -> CachedPolicy:
    cached = CachedPolicy(policy, parse_mode(mode), parse_gate(gate), execute=parse_execution(execute), **options)
    cached.reset("pick up the bowl", [5])
    return cached


def replans(cached, observations) -> tuple[list[np.ndarray], list]:
    chunks, records = zip(*(cached.act(o.images, o.state) for o in observations), strict=True)
    return [*chunks], [*records]


def computed(policy, observations, **options) -> list[np.ndarray]:
    """What is answered where nothing is ever reused."""
    return replans(acting(policy, "none", "never", **options), observations)[0]


def test_what_is_left_of_the_chunk_is_the_answer_as_long_as_it_is_enough(policy, observations):
    fresh = computed(policy, observations)
    chunks, records = replans(acting(policy), observations)
    for chunk, expected in zip(chunks, (fresh[0], fresh[0][2:], fresh[2], fresh[2][2:], fresh[4]), strict=True):
        np.testing.assert_array_equal(chunk, expected)
    assert [r.reused for r in records] == [False, True, False, True, False] == [r.age > 0 for r in records]
    assert [r.denoised for r in records] == [3, 0, 3, 0, 3] and {r.executed for r in records} == {2}
    assert records[1].bits == crc32(fresh[0][2:].tobytes())


def test_a_chunk_may_be_begun_again_instead(policy, observations):
    fresh = computed(policy, observations)
    chunks, records = replans(acting(policy, "repeat", "age < 3"), observations)
    for chunk, expected in zip(chunks, (fresh[0], fresh[0], fresh[0], fresh[3], fresh[3]), strict=True):
        np.testing.assert_array_equal(chunk, expected)
    assert [r.age for r in records] == [0, 1, 2, 0, 1] and [r.denoised for r in records] == [3, 0, 0, 3, 0]
    assert records[1].bits == crc32(fresh[0].tobytes()) and records[1].ms_prefill == 0


@pytest.mark.parametrize(
    ("gate", "execute", "reused"),
    [
        ("every(2)", "1", [0, 1, 0, 1, 0]),
        ("always", "1", [0, 1, 1, 1, 0]),
        ("always", "3", [0] * 5),
        ("never", "1", [0] * 5),
    ],
)
def test_a_chunk_is_kept_where_the_gate_allows_it_and_enough_is_left(policy, observations, gate, execute, reused):
    _, records = replans(acting(policy, gate=gate, execute=execute), observations)
    assert [r.reused for r in records] == reused


def test_a_kept_chunk_without_a_look_runs_nothing_of_the_model(policy, observations, monkeypatch):
    cached = acting(policy, log_signals=False)
    cached.act(observations[0].images, observations[0].state)
    for part in ("embed_images", "embed_language", "prefill", "encode_state", "denoise"):
        monkeypatch.setattr(policy.model, part, lambda *_: pytest.fail("the model ran"))
    _, record = cached.act(observations[1].images, observations[1].state)
    assert record.reused and record.ms_vision == record.ms_prefill == 0


def test_where_the_robot_is_in_its_chunk_may_be_said(policy, observations):
    first, second, third = observations[:3]
    fresh, cached = computed(policy, observations), acting(policy, execute="1")
    cached.act(first.images, first.state)
    chunk, _ = cached.act(second.images, second.state, elapsed=3)
    np.testing.assert_array_equal(chunk, fresh[0][3:])
    chunk, record = cached.act(third.images, third.state, elapsed=9)
    np.testing.assert_array_equal(chunk, fresh[2])
    assert not record.reused and cached.executes() == 1


def trail(policy, observation, steps=None) -> list[torch.Tensor]:
    """The noise of a first replan, and the chunk after each denoising step."""
    noise = np.random.default_rng([5, 0]).standard_normal((1, 4, 3), dtype=np.float32)
    seen = [torch.from_numpy(noise).double()]
    acting(policy, "none", watch=lambda _, x: seen.append(x), steps=steps).act(observation.images, observation.state)
    return seen


def spread_by_hand(policy, observation, steps: int) -> np.ndarray:
    x, ends = [one[0].numpy() for one in trail(policy, observation, steps)], []
    for k in range(steps):
        velocity, time = (x[k] - x[k + 1]) * steps, 1 - k / steps
        ends.append(x[k] - time * velocity)
    last = np.stack(ends[-3:])
    return np.sqrt(((last - last.mean(0)) ** 2).mean(0).mean(1))


@pytest.mark.parametrize("steps", [2, 3, 7])
def test_the_spread_of_end_points_by_hand(policy, observations, steps):
    expected = spread_by_hand(policy, observations[0], steps)
    seen = trail(policy, observations[0], steps)
    np.testing.assert_allclose(end_point_spread(torch.cat(seen), 3), expected, rtol=1e-9)
    assert len(set(expected)) == 4 and expected.min() > 0
    assert np.isnan(end_point_spread(torch.cat(seen[-2:]), 3)).all()  # a single step has one end point
    _, records = replans(acting(policy, steps=steps), observations[:2])
    assert math.isnan(records[0].settled) and records[1].settled == pytest.approx(expected[2:].max())


def test_a_straight_flow_is_settled():
    noise, goal = torch.randn(2, 1, 4, 3)
    seen = torch.cat([noise + k / 5 * (goal - noise) for k in range(6)])
    np.testing.assert_allclose(end_point_spread(seen, 3), 0, atol=1e-6)


def test_the_settled_gate_and_length(policy, observations):
    spreads = spread_by_hand(policy, observations[0], 3)
    coming = spreads[2:].max()
    for tau, reused in ((coming * 1.001, True), (coming * 0.999, False)):
        _, records = replans(acting(policy, gate=f"settled <= {tau}"), observations[:2])
        assert records[1].reused is reused
    for tau in sorted(spreads):
        length = next((i for i, spread in enumerate(spreads) if spread > tau * 1.001), 4)
        _, (record,) = replans(acting(policy, "none", execute=f"settled({tau * 1.001})"), observations[:1])
        assert record.executed == max(1, length)


def test_a_settled_length_goes_on_only_where_the_chunk_is_still_settled(policy, observations):
    tau = spread_by_hand(policy, observations[0], 3).max() * 1.001  # all four are executed, and nothing is left
    cached = acting(policy, execute=f"settled({tau})")
    assert [cached.act(o.images, o.state)[1].reused for o in observations[:2]] == [False, False]
    cached = acting(policy, execute=f"settled({tau})")
    cached.act(observations[0].images, observations[0].state)
    chunk, record = cached.act(observations[1].images, observations[1].state, elapsed=1)
    assert record.reused and record.executed == len(chunk) == 3


@pytest.mark.parametrize("mode", ["chunk", "prefix", "full"])
def test_verifying_by_hand(policy, observations, mode):
    """The draft, noised, is denoised in one step with the prefix of then and the state of now."""
    then, now = observations[:2]
    (whole,) = (x[0] for x in [trail(policy, then)[-1]])
    draft = torch.cat([whole[2:], whole[-1:], whole[-1:]])[None]
    noise = np.random.default_rng([5, 1, 2]).standard_normal((1, 4, 3), dtype=np.float32)
    x = NOISED * torch.from_numpy(noise) + (1 - NOISED) * draft
    tokens, model = policy.model.embed_images(policy.images(then.images)), policy.model
    parts = dict(zip(("agentview", "wrist"), tokens[:, None], strict=True))
    parts["language"] = model.embed_language(policy.tokens("pick up the bowl"))
    prefix = model.prefill({n: (p, None) for n, p in parts.items()})
    cache = model.encode_state(policy.state(now.state), prefix)
    answer = x - NOISED * model.velocity(cache.stacked(), x, torch.tensor([NOISED]))
    moved = (
        (answer - draft)[0, :LEFT, :2].square().mean(-1).sqrt().max().item()
    )  # of an action's 3, the last is gripper
    for tau, reused in ((moved * 1.001, True), (moved * 0.999, False)):
        _, records = replans(acting(policy, mode, f"verify <= {tau}"), observations[:2])
        assert records[1].verify == pytest.approx(moved, rel=1e-5) and math.isnan(records[0].verify)
        assert records[1].reused is reused


def test_the_expert_agrees_with_a_draft_of_a_straight_flow(policy, observations, monkeypatch):
    """A velocity that leads from any point straight to the draft moves nothing."""
    cached, model = acting(policy, gate="verify <= 1e-5"), policy.model
    chunk, _ = cached.act(observations[0].images, observations[0].state)
    goal = torch.from_numpy(np.concatenate([chunk[2:], chunk[-1:], chunk[-1:]])).double()
    monkeypatch.setattr(model, "_velocity", lambda past, x, *_: (x - goal) / NOISED)
    assert cached.act(observations[1].images, observations[1].state)[1].reused


def test_distance_is_that_of_normalised_states_from_the_last_computed(policy, observations):
    scaled = replace(policy, stats=policy.stats | {"state_std": np.full(4, 2, np.float32)})
    _, records = replans(acting(scaled, gate="distance <= 1e9", execute="1"), observations)
    assert math.isnan(records[0].distance)
    for n in (1, 2, 3, 4):
        expected = np.linalg.norm(observations[n].state - observations[0].state) / 2
        assert records[n].distance == pytest.approx(expected, rel=1e-5)
    for tau, reused in ((records[1].distance * 1.001, True), (records[1].distance * 0.999, False)):
        _, (_, second) = replans(acting(scaled, gate=f"distance <= {tau}"), observations[:2])
        assert second.reused is reused


def test_a_change_of_the_gripper_recomputes(policy, observations):
    """With the gripper's command turned up, it changes by more than 1 within each chunk; without, by 0."""
    for scale, reused in ((0.0, [0, 1, 0, 1, 0]), (100.0, [0] * 5)):
        stats = policy.stats | {"action_std": np.array([1, 1, scale], np.float32)}
        _, records = replans(acting(replace(policy, stats=stats), gate="gripper < 1"), observations)
        assert [r.reused for r in records] == reused


def test_without_images_their_tokens_are_left_out_of_attention(policy, observations):
    """As with masked cameras; whatever a mode would keep of them is not there."""
    model, o = policy.model, observations[0]
    tokens = policy.model.embed_images(policy.images(o.images))
    parts = {
        c: (x[None], torch.zeros(1, x.shape[0], dtype=torch.bool))
        for c, x in zip(("agentview", "wrist"), tokens, strict=True)
    }
    words = model.embed_language(policy.tokens("pick up the bowl"))
    parts["language"] = (words, None)
    cache = model.encode_state(policy.state(o.state), model.prefill(parts))
    noise = np.random.default_rng([5, 0]).standard_normal((1, 4, 3), dtype=np.float32)
    expected = policy.actions(model.denoise(cache, torch.from_numpy(noise).double()))
    for mode in (
        "none",
        "full",
        "prefix",
        "vision_only:skip",
        "vision_only:splice",
        "text_fixed:skip",
        "chunk",
        "repeat",
    ):
        cached = acting(policy, mode)
        chunk, record = cached.act(None, o.state)
        np.testing.assert_allclose(chunk, expected, rtol=1e-5, atol=1e-6)
        assert math.isnan(record.vision_anchor)
        _, record = cached.act(None, o.state)
        assert math.isnan(record.vision_anchor) and record.state_anchor == 1


@pytest.mark.parametrize(
    ("text", "printed"),
    [("010", "10"), (" 3 ", "3"), (7, "7"), ("settled( .5 )", None), ("settled(0.10)", "settled(0.1)")],
)
def test_lengths_are_written_one_way(text, printed):
    if printed is None:
        with pytest.raises(ValueError, match="cannot read the number of executed actions"):
            parse_execution(text)
    else:
        assert str(parse_execution(text)) == printed == str(parse_execution(printed))


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "2.5", "all", "settled", "settled(0)", "settled(-1)", "settled(x)", True]
)
def test_what_is_no_length_is_said(text):
    with pytest.raises(ValueError, match="it is a whole number above 0, or settled\\(TAU\\) with TAU above 0"):
        parse_execution(text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "none", "execute": "5"}, "5 actions are to be executed, but a chunk has 4 actions"),
        ({"steps": 0}, "at least 1 denoising step, got 0"),
        ({"gate": "settled <= 1", "steps": 1}, "compares the end points of denoising steps, and 1 step has only one"),
        ({"execute": "settled(1)", "steps": 1}, "compares the end points of denoising steps, and 1 step has only one"),
        (
            {"mode": "state_only:skip", "gate": "verify <= 1"},
            "'state_only:skip' keeps no whole prefix: use it with chunk",
        ),
        ({"mode": "vision_only:skip", "gate": "age < 3 & verify <= 1"}, "keeps no whole prefix"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_replan(policy, options, says):
    with pytest.raises(ValueError, match=says):
        acting(policy, **options)


def test_actions_relative_to_the_state_cannot_be_verified(policy):
    relative = replace(policy, conventions=replace(policy.conventions, relative=(True, False, False)))
    acting(relative, gate="distance <= 1")
    with pytest.raises(ValueError, match="relative to the state of each"):
        acting(relative, gate="verify <= 1")


def test_a_whole_chunk_is_the_default(policy, observations):
    cached = CachedPolicy(policy, parse_mode("chunk"), parse_gate("always"))
    cached.reset("pick up the bowl", [5])
    _, records = replans(cached, observations)
    assert cached.execute == Execution(4) and not any(r.reused for r in records)
