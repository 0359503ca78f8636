"""Pi0.5: no state token, and a prompt that holds the state and so is another, of another length, at every replan."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from kvlab.pi0 import Conventions, Pi0, Policy
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from kvlab.reuse.phase import SAMPLES

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # actions are float32
CAMERAS = ("agentview", "wrist")
INSTRUCTION = "pick up the bowl"
MODES = ("none", "full", "prefix", "vision_only:splice", "vision_only:skip")


def pi05(policy: Policy, prompt: str, relative: tuple[bool, ...] = ()) -> Policy:
    """One of random weights, padded to 6 state and 5 action numbers, that reads its prompt byte by byte."""
    symbols = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({s: i for i, s in enumerate(symbols)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    sizes = {"vocab_size": len(symbols), "max_tokens": 80, "state_dim": 6, "action_dim": 5}
    torch.manual_seed(1)
    model = Pi0(replace(policy.config, pi05=True, **sizes))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    model = model.double().requires_grad_(False)
    return Policy(model, policy.stats, tokenizer, {}, Conventions(prompt, relative=relative))


@pytest.fixture(scope="module")
def stateful(policy) -> Policy:
    return pi05(policy, "{words}, State: {state};")


@pytest.fixture(scope="module")
def stateless(policy) -> Policy:
    return pi05(policy, "{words}\n")


@pytest.fixture(scope="module")
def moments(observations):
    """Three moments whose prompts have different lengths."""
    states = ([0.99, 0.99, 0.99, 0.99], [-1, -1, -1, -0.99], [-0.5, 0.5, -0.99, 0.1])
    return [replace(o, state=np.float32(s)) for o, s in zip(observations, states, strict=False)]


def run(policy, mode, moments, gate="always") -> np.ndarray:
    """The chunk of the last replan."""
    cached = CachedPolicy(policy, parse_mode(mode), parse_gate(gate))
    cached.reset(INSTRUCTION, [5])
    for o in moments:
        chunk, _ = cached.act(o.images, o.state)
    return chunk


def embeds(policy, seen, told) -> dict:
    """Segments with the frames of one moment and the prompt of another."""
    parts = dict(zip(CAMERAS, policy.model.embed_images(policy.images(seen.images))[:, None], strict=True))
    parts["language"] = policy.model.embed_language(policy.tokens(INSTRUCTION, told.state))
    return {n: (x, None) for n, x in parts.items()}


def answer(policy, cache, replan: int, chunks: int = 1, stream: tuple = ()) -> torch.Tensor:
    noise = np.random.default_rng([5, replan, *stream]).standard_normal((chunks, 4, 5), dtype=np.float32)
    return policy.model.denoise(cache, torch.from_numpy(noise).double())


def test_the_prompts_differ_in_length(stateful, moments):
    """Else the tests below would show less than they say."""
    assert len({stateful.tokens(INSTRUCTION, o.state).shape[1] for o in moments}) == 3


def test_every_replan_is_told_its_own_state(stateful, moments):
    for n, now in enumerate(moments):
        expected = answer(stateful, stateful.model.prefill(embeds(stateful, now, now)), n)
        np.testing.assert_allclose(run(stateful, "none", moments[: n + 1]), stateful.actions(expected), **CLOSE)
    moved = replace(moments[0], state=moments[1].state)
    assert np.abs(run(stateful, "none", [moved]) - run(stateful, "none", moments[:1])).max() > 1e-4


@pytest.mark.parametrize("kind", ["stateful", "stateless"])
@pytest.mark.parametrize("mode", MODES)
def test_with_nothing_changed_reuse_gives_the_action_of_no_reuse(kind, mode, moments, request):
    policy, still = request.getfixturevalue(kind), moments[:1] * 3
    np.testing.assert_allclose(run(policy, mode, still), run(policy, "none", still), **CLOSE)


@pytest.mark.parametrize("mode", ["full", "prefix"])
def test_full_and_prefix_are_one_and_keep_the_old_state(stateful, moments, mode):
    expected = run(stateful, "none", moments[:1] * 3)
    np.testing.assert_allclose(run(stateful, mode, moments), expected, **CLOSE)


def test_vision_only_skip_is_stale_vision_with_the_fresh_state(stateful, moments):
    first, *_, last = moments
    old = stateful.model.prefill(embeds(stateful, first, first)).take(CAMERAS)
    fresh = {"language": embeds(stateful, last, last)["language"]}
    expected = answer(stateful, stateful.model.prefill(fresh, kept=old), 2)
    np.testing.assert_allclose(run(stateful, "vision_only:skip", moments), stateful.actions(expected), **CLOSE)


def test_vision_only_splice_lets_the_language_see_the_fresh_cameras(stateful, moments):
    first, *_, last = moments
    old = stateful.model.prefill(embeds(stateful, first, first))
    expected = answer(stateful, stateful.model.prefill(embeds(stateful, last, last)).splice(old, CAMERAS), 2)
    spliced = run(stateful, "vision_only:splice", moments)
    np.testing.assert_allclose(spliced, stateful.actions(expected), **CLOSE)
    assert np.abs(spliced - run(stateful, "vision_only:skip", moments)).max() > 1e-4


@pytest.mark.parametrize("mode", ["layer_wise:splice", "layer_wise[1:]:skip", "text_fixed:splice", "text_fixed:skip"])
def test_a_prompt_that_stays_the_same_has_the_other_modes_too(stateless, moments, mode):
    some, still = moments, moments[:1] * 3
    np.testing.assert_allclose(run(stateless, mode, still), run(stateless, "none", still), **CLOSE)
    assert np.abs(run(stateless, mode, some) - run(stateless, "none", some)).max() > 1e-5


@pytest.mark.parametrize("kind", ["stateful", "stateless"])
@pytest.mark.parametrize("how", ["splice", "skip"])
def test_the_state_token_cannot_be_kept(kind, how, request):
    with pytest.raises(ValueError, match=f"^'state_only:{how}' keeps the state token, but Pi0.5 has none: use full"):
        CachedPolicy(request.getfixturevalue(kind), parse_mode(f"state_only:{how}"), parse_gate("always"))


@pytest.mark.parametrize("mode", ["text_fixed:splice", "text_fixed:skip", "layer_wise:splice", "layer_wise[1:]:skip"])
def test_modes_that_need_the_same_prompt(stateful, mode):
    with pytest.raises(ValueError, match="needs a prompt that stays the same, and this model's holds the state: use"):
        CachedPolicy(stateful, parse_mode(mode), parse_gate("always"))


@pytest.mark.parametrize("gate", ["vision >= 0.9 & state >= 0.9", "state@previous >= 0.9"])
def test_a_gate_compares_the_state_where_the_model_has_one(stateful, stateless, moments, gate):
    with pytest.raises(ValueError, match="^the gate .* compares the state, and this Pi0.5 has none"):
        CachedPolicy(stateless, parse_mode("full"), parse_gate(gate))
    turned = replace(moments[0], state=-moments[0].state)
    some = [moments[0], turned]  # the same frames
    np.testing.assert_allclose(run(stateful, "full", some, gate), run(stateful, "none", some), **CLOSE)
    assert np.abs(run(stateful, "full", some, "vision >= 0.9") - run(stateful, "none", some)).max() > 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_relative_actions_are_relative_to_the_present_state(policy, moments, mode):
    """Also where the chunk comes from an old cache: the robot is where it is."""
    prompt, by = "{words}, State: {state};", (True, False, True)
    relative, absolute = run(pi05(policy, prompt, by), mode, moments), run(pi05(policy, prompt), mode, moments)
    np.testing.assert_allclose(relative, absolute + moments[-1].state[:3] * by, **CLOSE)


def test_the_spread_is_of_the_actions_and_not_of_padding(stateful, moments):
    cached = CachedPolicy(stateful, parse_mode("full"), parse_gate("vision >= 1 if spread < 0.1 else 1"))
    cached.reset(INSTRUCTION, [5])
    records = [cached.act(o.images, o.state)[1] for o in moments[:2]]
    cache = stateful.model.prefill(embeds(stateful, moments[0], moments[0]))
    chunks = answer(stateful, cache.repeat(SAMPLES), 0, SAMPLES, (1,))[..., :3].numpy()
    assert records[1].spread == pytest.approx(np.sqrt(chunks.var(axis=0).mean()), rel=1e-5)
