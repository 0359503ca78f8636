"""What each mode computes with: the no-reuse action where nothing changed, and the intended mixture where it did."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kvlab.pi0 import KVCache
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode

PARTIAL = ("vision_only:splice", "vision_only:skip", "state_only:splice", "state_only:skip", "text_fixed:splice")
LAYERS = ("layer_wise:splice", "layer_wise[:2]:splice", "layer_wise[2:]:splice", "layer_wise[2:]:skip")
MODES = ("none", "full", "prefix", *PARTIAL, "text_fixed:skip", *LAYERS, "layer_wise[0:]:skip", "layer_wise[1:]:skip")
CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # actions are float32
CAMERAS = ("agentview", "wrist")
ORDER = (*CAMERAS, "language", "state")


def run(policy, mode, observations, gate="always") -> np.ndarray:
    """The chunk of the last replan."""
    cached = CachedPolicy(policy, parse_mode(mode), parse_gate(gate))
    cached.reset("pick up the bowl", [5])
    for o in observations:
        chunk, _ = cached.act(o.images, o.state)
    return chunk


class ByHand:
    """The same from the model's own operations, cache by cache."""

    def __init__(self, policy):
        self.policy, self.model = policy, policy.model

    def embeds(self, o, names=ORDER[:3]):
        tokens = self.model.embed_images(self.policy.images(o.images))
        parts = dict(zip(CAMERAS, tokens[:, None], strict=True))
        parts["language"] = self.model.embed_language(self.policy.tokens("pick up the bowl"))
        return {n: (parts[n], None) for n in names}

    def state(self, o, prefix: KVCache) -> KVCache:
        return self.model.encode_state(self.policy.state(o.state), prefix)

    def whole(self, o) -> KVCache:
        return self.state(o, self.model.prefill(self.embeds(o)))

    def chunk(self, cache: KVCache, replan: int) -> np.ndarray:
        noise = np.random.default_rng([5, replan]).standard_normal((1, 4, 3), dtype=np.float32)
        return self.policy.actions(self.model.denoise(cache, torch.from_numpy(noise).double()))


@pytest.fixture
def hand(policy) -> ByHand:
    return ByHand(policy)


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    return np.abs(a - b).max() > 1e-4


@pytest.mark.parametrize("gate", ["always", "every(2)"])
@pytest.mark.parametrize("mode", MODES)
def test_with_nothing_changed_reuse_gives_the_action_of_no_reuse(policy, observations, mode, gate):
    for replans in (1, 2, 3, 4):
        still = observations[:1] * replans
        np.testing.assert_allclose(run(policy, mode, still, gate), run(policy, "none", still), **CLOSE)


def test_with_a_change_every_mode_but_none_gives_another_action(policy, observations):
    fresh = run(policy, "none", observations[:2])
    for mode in MODES[1:]:
        assert differ(run(policy, mode, observations[:2]), fresh), mode


def test_none_is_computed_afresh(policy, hand, observations):
    np.testing.assert_allclose(
        run(policy, "none", observations[:3]), hand.chunk(hand.whole(observations[2]), 2), **CLOSE
    )


def test_full_acts_on_one_stale_moment(policy, observations):
    a, b, c, *_ = observations
    np.testing.assert_allclose(run(policy, "full", [a, b, c]), run(policy, "none", [a, a, a]), **CLOSE)


def test_prefix_is_stale_vision_with_fresh_state(policy, observations):
    a, b, c, *_ = observations
    mixed = replace(a, state=c.state)
    np.testing.assert_allclose(run(policy, "prefix", [a, b, c]), run(policy, "none", [a, a, mixed]), **CLOSE)


def test_full_and_prefix_differ_by_the_state_alone(policy, observations):
    a, b, *_ = observations
    assert differ(run(policy, "full", [a, b]), run(policy, "prefix", [a, b]))
    moved = replace(a, images=b.images)  # the cameras change, the state does not
    np.testing.assert_allclose(run(policy, "full", [a, moved]), run(policy, "prefix", [a, moved]), **CLOSE)


@pytest.mark.parametrize("how", ["splice", "skip"])
def test_state_only_is_fresh_vision_with_the_stale_state_token(policy, hand, observations, how):
    """Both ways are the same: nothing is computed from the state token but actions."""
    a, b, c, *_ = observations
    expected = hand.whole(c).join(hand.whole(a).take(["state"]), ORDER)
    np.testing.assert_allclose(run(policy, f"state_only:{how}", [a, b, c]), hand.chunk(expected, 2), **CLOSE)


def test_vision_only_skip_is_prefix(policy, observations):
    """Language of an unchanged prompt that attends to kept cameras comes out as it was."""
    for n in (2, 3, 4):
        some = observations[:n]
        np.testing.assert_allclose(run(policy, "vision_only:skip", some), run(policy, "prefix", some), **CLOSE)


def test_vision_only_splice_lets_the_language_see_the_fresh_cameras(policy, hand, observations):
    """Hence it cannot agree with `skip`, for which there are no fresh cameras to see."""
    a, b, c, *_ = observations
    prefix = hand.model.prefill(hand.embeds(c)).splice(hand.whole(a), CAMERAS)
    spliced = run(policy, "vision_only:splice", [a, b, c])
    np.testing.assert_allclose(spliced, hand.chunk(hand.state(c, prefix), 2), **CLOSE)
    assert differ(spliced, run(policy, "vision_only:skip", [a, b, c]))


@pytest.mark.parametrize(
    ("text", "layers"), [("", [0]), ("[:1]", [0]), ("[:2]", [0, 1]), ("[1:]", [1, 2]), ("[2:]", [2])]
)
def test_layer_wise_mixes_layers_of_two_moments(policy, hand, observations, text, layers):
    a, b, c, *_ = observations
    mixed, old = hand.model.prefill(hand.embeds(c)), hand.whole(a)
    for name, segment in mixed.segments.items():
        segment.keys[layers] = old.segments[name].keys[layers]
        segment.values[layers] = old.segments[name].values[layers]
    expected = hand.chunk(hand.state(c, mixed), 2)
    np.testing.assert_allclose(run(policy, f"layer_wise{text}:splice", [a, b, c]), expected, **CLOSE)


@pytest.mark.parametrize("k", [1, 2])
def test_upper_layers_spliced_or_skipped_are_the_same(policy, observations, k):
    some = observations[:3]
    spliced, skipped = (run(policy, f"layer_wise[{k}:]:{how}", some) for how in ("splice", "skip"))
    np.testing.assert_allclose(skipped, spliced, **CLOSE)


def test_all_layers_are_prefix(policy, observations):
    some, expected = observations[:3], run(policy, "prefix", observations[:3])
    for mode in ("layer_wise[0:]:skip", "layer_wise[0:]:splice", "layer_wise[:3]:splice"):
        np.testing.assert_allclose(run(policy, mode, some), expected, **CLOSE)


def test_text_fixed_keeps_the_first_language_even_when_the_gate_is_shut(policy, hand, observations):
    """`skip` lets fresh cameras attend to the old language, `splice` to the fresh one that is then overwritten."""
    a, b, c, *_ = observations
    first = hand.whole(a).take(["language"])
    skipped = hand.state(c, hand.model.prefill(hand.embeds(c, CAMERAS), kept=first))
    spliced = hand.state(c, hand.model.prefill(hand.embeds(c)).splice(first, ["language"]))
    results = {how: run(policy, f"text_fixed:{how}", [a, b, c], gate="never") for how in ("skip", "splice")}
    np.testing.assert_allclose(results["skip"], hand.chunk(skipped, 2), **CLOSE)
    np.testing.assert_allclose(results["splice"], hand.chunk(spliced, 2), **CLOSE)
    assert differ(results["skip"], results["splice"])


def test_text_fixed_with_an_open_gate_is_prefix_until_the_cameras_are_renewed(policy, hand, observations):
    a, b, c, d, _ = observations
    for how in ("skip", "splice"):
        mode = f"text_fixed:{how}"
        np.testing.assert_allclose(run(policy, mode, [a, b, c]), run(policy, "prefix", [a, b, c]), **CLOSE)
    first = hand.whole(a).take(["language"])
    renewed = hand.model.prefill(hand.embeds(c, CAMERAS), kept=first)
    expected = hand.chunk(hand.state(d, renewed), 3)  # cameras of c, language of a, state of d
    np.testing.assert_allclose(run(policy, "text_fixed:skip", [a, b, c, d], gate="every(2)"), expected, **CLOSE)


@pytest.mark.parametrize("mode", ["full", "prefix", "vision_only:splice", "layer_wise:splice", "state_only:skip"])
def test_a_renewed_cache_is_the_one_that_is_reused(policy, observations, mode):
    """What was before the last computed step does not matter."""
    a, b, c, d, e = observations
    late = run(policy, mode, [a, b, c, d, e], gate="every(3)")
    np.testing.assert_allclose(late, run(policy, mode, [b, a, e, d, e], gate="every(3)"), **CLOSE)
    assert differ(late, run(policy, mode, [a, b, c, a, e], gate="every(3)"))


@pytest.mark.parametrize(
    ("mode", "computed"),
    [
        ("vision_only:skip", (("language",), None)),
        ("text_fixed:skip", (CAMERAS, None)),
        ("layer_wise[1:]:skip", (ORDER[:3], 1)),
        ("state_only:skip", (ORDER[:3], None)),
        ("vision_only:splice", (ORDER[:3], None)),
        ("layer_wise[1:]:splice", (ORDER[:3], None)),
    ],
)
def test_skip_computes_what_is_fresh_and_splice_everything(policy, observations, mode, computed, monkeypatch):
    """The second replan's prefill: segments, and how many layers. For `text_fixed` with the gate shut."""
    seen, prefill = [], policy.model.prefill

    def watched(fresh, kept=None, depth=None):
        seen.append((tuple(fresh), depth))
        return prefill(fresh, kept=kept, depth=depth)

    monkeypatch.setattr(policy.model, "prefill", watched)
    run(policy, mode, observations[:2], gate="never" if mode.startswith("text_fixed") else "always")
    assert seen == [(ORDER[:3], None), computed]
