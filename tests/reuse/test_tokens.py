"""Reuse by token: which tokens, from which layer on, and what is computed with them, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kvlab.pi0 import Pi0
from kvlab.pi0.layers import rope
from kvlab.pi0.tokens import Attention, prefill_tokens
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from kvlab.reuse.tokens import Selection, Tokens, _fusable, _reusable, drop_layers, parse_selection, sharpness

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
CAMERAS = ("agentview", "wrist")
MODES = [
    *(
        "tokens:splice",
        "tokens:skip",
        "tokens[0:]:skip",
        "tokens[1:]:splice",
        "tokens[2:]:skip",
        "tokens@previous:skip",
    ),
    *("tokens(random):skip", "tokens(raster):splice", "tokens(static):skip", "tokens(inverse)[1:]:skip", "tokens:fuse"),
]
TOKENS = 8  # of two cameras; four words follow


def acting(policy, mode, gate="always") -> CachedPolicy:
    cached = CachedPolicy(policy, parse_mode(mode), parse_gate(gate))
    cached.reset("pick up the bowl", [5])
    return cached


def run(policy, mode, observations, gate="always"):
    cached = acting(policy, mode, gate)
    chunks, records = zip(*(cached.act(o.images, o.state) for o in observations), strict=True)
    return chunks, records


def embeds(policy, o) -> dict:
    tokens = policy.model.embed_images(policy.images(o.images))
    parts = dict(zip(CAMERAS, tokens[:, None], strict=True))
    parts["language"] = policy.model.embed_language(policy.tokens("pick up the bowl"))
    return {n: (x, None) for n, x in parts.items()}


@pytest.fixture
def quarter_changed(observations):
    """The first observation, and one in which the first token's patch of each camera is another."""
    first, other = observations[:2]
    images = {name: frame.copy() for name, frame in first.images.items()}
    for name, frame in images.items():
        frame[:16, :16] = other.images[name][:16, :16]
    return first, replace(other, images=images)


# What is computed


@pytest.mark.parametrize("mode", MODES)
def test_with_nothing_changed_reuse_gives_the_action_of_no_reuse(policy, observations, mode):
    still = [observations[0]] * 3
    chunks, records = run(policy, mode, still)
    np.testing.assert_allclose(chunks[2], run(policy, "none", still)[0][2], **CLOSE)
    assert [r.kept_tokens > 0 for r in records] == [False, True, True] == [r.reused for r in records]


def test_computing_every_token_is_a_prefill(policy, observations):
    fresh = embeds(policy, observations[0])
    ours, _ = prefill_tokens(policy.model, fresh)
    theirs = policy.model.prefill(fresh)
    for name, segment in theirs.segments.items():
        torch.testing.assert_close(ours.segments[name].keys, segment.keys)
        torch.testing.assert_close(ours.segments[name].values, segment.values)
        assert torch.equal(ours.segments[name].positions, segment.positions)


def by_hand(model: Pi0, fresh: dict, old, keep_from: list[int]):
    """Every layer over all tokens, a kept one's keys and values exchanged before anything attends to them."""
    x, then = torch.cat([x for x, _ in fresh.values()], 1), old.stacked()
    by = rope(torch.arange(x.shape[1])[None], model.config.prefix.head_dim, x.dtype)
    keys, values, entropy, weights = [], [], [], []
    for i, layer in enumerate(model.prefix):
        kept = torch.tensor(keep_from) <= i
        q, k, v = layer._project(layer.norm_attn(x), by)
        k, v = torch.where(kept[:, None], then[0][i], k), torch.where(kept[:, None], then[1][i], v)
        shares = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
        x = x + layer.out((shares @ v).transpose(1, 2).flatten(2))
        gate, up = layer.gate_up(layer.norm_mlp(x)).chunk(2, -1)
        x = x + layer.down(F.gelu(gate, approximate="tanh") * up)
        mean = shares[0].mean(0)
        entropy.append(-(mean * mean.log()).sum(-1)[~kept].mean())
        keys.append(k), values.append(v), weights.append(mean)
    return torch.stack(keys), torch.stack(values), torch.stack(entropy), weights[len(weights) // 2][TOKENS:]


@pytest.mark.parametrize(
    "keep_from", [[3] * 12, [0, 3, 1, 3, 3, 2, 3, 1, 3, 3, 3, 3], [2, 2, 2, 2, 0, 0, 0, 0, 3, 3, 3, 3]]
)
def test_a_kept_token_asks_nothing_and_answers_with_what_it_was(policy, observations, keep_from):
    old, fresh = policy.model.prefill(embeds(policy, observations[1])), embeds(policy, observations[0])
    keys, values, entropy, weights = by_hand(policy.model, fresh, old, keep_from)
    made, attention = prefill_tokens(policy.model, fresh, old, torch.tensor(keep_from))
    torch.testing.assert_close(made.stacked()[0], keys)
    torch.testing.assert_close(made.stacked()[1], values)
    torch.testing.assert_close(attention.entropy, entropy)
    torch.testing.assert_close(attention.weights, weights)


def test_splicing_exchanges_keys_and_values_after_everything_is_computed(policy, observations):
    old, fresh = (policy.model.prefill(embeds(policy, o)) for o in observations[:2])
    keep_from = torch.tensor([0, 3, 1, 3, 3, 2, 3, 1, 3, 3, 3, 3])
    mixed = fresh.mix(old, keep_from).stacked()
    for side in (0, 1):
        for token, start in enumerate(keep_from.tolist()):
            for layer in range(3):
                source = old if layer >= start else fresh
                assert torch.equal(mixed[side][layer, :, :, token], source.stacked()[side][layer, :, :, token])
    alone = policy.model.prefill({"language": embeds(policy, observations[0])["language"]})
    with pytest.raises(ValueError, match="'language' cannot be reused: its tokens moved"):
        fresh.take(["language"]).mix(alone, keep_from[-4:])


@pytest.mark.parametrize("way", ["splice", "skip"])
def test_a_policy_computes_with_the_tokens_that_were_chosen(policy, quarter_changed, way):
    """A closed loop of two replans: the cache by hand, of the tokens that the rule names."""
    first, second = quarter_changed
    chunks, records = run(policy, f"tokens[1:]:{way}", [first, second])
    model, (a, b) = policy.model, (embeds(policy, o) for o in quarter_changed)
    old, attention = prefill_tokens(model, a)
    chosen = []
    for camera in range(2):
        relevance = attention.weights[:, 4 * camera : 4 * camera + 4].mean(0)
        protected = int(relevance.argmax())  # one of four
        chosen += [4 * camera + t for t in (1, 2) if t != protected]  # the first two of the three unchanged ones
    keep_from = [1 if token in chosen else 3 for token in range(12)]
    if way == "skip":
        prefix, _ = prefill_tokens(model, b, old, torch.tensor(keep_from))
    else:
        prefix = model.prefill(b).mix(old, torch.tensor(keep_from))
    noise = np.random.default_rng([5, 1]).standard_normal((1, 4, 3), dtype=np.float32)
    cache = model.encode_state(policy.state(second.state), prefix)
    expected = policy.actions(model.denoise(cache, torch.from_numpy(noise).double()))
    np.testing.assert_allclose(chunks[1], expected, **CLOSE)
    assert records[1].kept_tokens == len(chosen) > 0
    assert np.abs(chunks[1] - run(policy, "none", [first, second])[0][1]).max() > 1e-4


def test_fusing_lets_old_image_tokens_stand_in(policy, quarter_changed):
    first, second = quarter_changed
    chunks, records = run(policy, "tokens:fuse", [first, second])
    model, (a, b) = policy.model, (embeds(policy, o) for o in quarter_changed)
    _, attention = prefill_tokens(model, a)
    for camera, name in enumerate(CAMERAS):
        protected = int(attention.weights[:, 4 * camera : 4 * camera + 4].mean(0).argmax())
        x = b[name][0].clone()
        for token in {1, 2, 3} - {protected}:
            x[:, token] = a[name][0][:, token]
        b[name] = (x, b[name][1])
    cache = model.encode_state(policy.state(second.state), model.prefill(b))
    noise = np.random.default_rng([5, 1]).standard_normal((1, 4, 3), dtype=np.float32)
    np.testing.assert_allclose(
        chunks[1], policy.actions(model.denoise(cache, torch.from_numpy(noise).double())), **CLOSE
    )
    assert records[1].kept_tokens in (4, 5, 6)


def test_without_a_gate_that_allows_it_nothing_is_kept(policy, observations):
    chunks, records = run(policy, "tokens:skip", observations, gate="never")
    for ours, theirs in zip(chunks, run(policy, "none", observations)[0], strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)
    assert {r.kept_tokens for r in records} == {0}


# Which tokens


def camera(alike: list[float], relevance: list[float]):
    """Patches of two numbers: now along the first, then at an angle of that cosine."""
    then = torch.tensor([[cosine, math.sqrt(1 - cosine**2)] for cosine in alike], dtype=torch.float64)
    return torch.tensor([[1.0, 0.0]] * len(alike), dtype=torch.float64), then, torch.tensor(relevance)


def test_the_rule_and_as_many_by_another():
    """Of 16 tokens at most 8 are static, the most alike; the 7 most attended to are protected."""
    alike = [1.0, 0.9999, 0.5, 0.9998, 0.9997, 0.9959, 0.9996, 0.9995, 0.9994, 0.9993, 0.9992, 0.2, 0.1, 0.0, 0.3, 0.4]
    relevance = [0.9, 0.1, 0.8, 0.2, 0.7, 0.1, 0.6, 0.1, 0.1, 0.95, 0.94, 0.93, 0.0, 0.0, 0.0, 0.0]
    one = camera(alike, relevance)
    rng = np.random.default_rng(0)
    assert _reusable(*one, "", rng) == [1, 3, 7, 8]  # static: 0 1 3 4 6 7 8 9; protected: 9 10 11 0 2 4 6
    assert list(_reusable(*one, "raster", rng)) == [0, 1, 2, 3]
    assert _reusable(*one, "static", rng) == [0, 1, 3, 4]
    assert _reusable(*one, "inverse", rng) == [0, 4, 6, 9]
    drawn = [frozenset(map(int, _reusable(*one, "random", rng))) for _ in range(50)]
    assert {len(tokens) for tokens in drawn} == {4} and len({*drawn}) > 40 and frozenset().union(*drawn) == {*range(16)}


def test_what_may_be_fused():
    """Grey may change by 0.03 on average; of 16 tokens the 4 most attended to are not fused."""
    then = torch.full((16, 12), 100.0, dtype=torch.float64)  # four pixels
    now = then.clone()
    now[0] += 7.6  # 0.0298 of 255
    now[1] += 7.7
    now[2, :4] += 25  # red alone, 0.0293
    now[3, 4:8] += 25  # green alone, 0.0575
    now[4] += torch.tensor([30.0, -30, 0, 0] * 3, dtype=torch.float64)  # 0.0588 on average, none in sum
    relevance = torch.arange(16.0)
    assert _fusable(now, then, relevance) == [0, 2, 5, 6, 7, 8, 9, 10, 11]


def test_the_layers_at_which_tokens_drop_out():
    assert drop_layers(32) == [2, 6, 9, 11] and drop_layers(18) == [1, 3, 5, 6] and drop_layers(5) == [1, 2]


def test_sharper_attention_drops_more_and_a_rise_counts_for_about_half():
    entropy = torch.tensor([5.0, 4.0, 3.0, 1.0, 2.0])  # shares 0, 0.25, 0.5, 1, 0.75
    second = 0 + 0.55 * 0.25
    third = second + 0.55 * (0.5 - second)
    assert sharpness(entropy, 5) == [(1, pytest.approx(second)), (2, pytest.approx(third))]
    assert [share for _, share in sharpness(torch.ones(18), 18)] == [1.0] * 4  # nothing tells the layers apart


def test_tokens_drop_out_in_order_and_never_come_back(policy):
    """Sharp from the second layer on: 55, 91, 98, 99 % of six tokens at layers 1, 3, 5 and 6."""
    tokens, order = Tokens(policy.model, Selection("skip")), [3, 1, 7, 0, 5, 2]
    tokens._attention = Attention(torch.tensor([9.0] + [1.0] * 17), None)
    assert tokens._schedule(order, 12, 18).tolist() == [3, 1, 18, 1, 18, 3, 18, 1, *[18] * 4]
    tokens._attention = Attention(torch.tensor([9.0, 1.0, 1.0, *[8.0] * 15]), None)  # wide again: none comes back
    assert tokens._schedule(order, 12, 18).tolist() == [18, 1, 18, 1, 18, 18, 18, 1, *[18] * 4]


def test_a_token_is_compared_with_the_frame_that_it_comes_from_or_with_the_last(policy, observations):
    """A picture that slowly grows brighter at its first token, which the raster order always keeps."""
    seen = []
    for step in range(4):
        images = {name: frame.copy() for name, frame in observations[0].images.items()}
        for frame in images.values():
            frame[:16, :16] = (frame[:16, :16] // 2) + 8 * step
        seen.append(replace(observations[0], images=images))
    raw = [(policy.images(o.images)[0, :, :16, :16].flatten().double() + 1) * 127.5 for o in seen]
    for mode, reference in (("tokens(raster):skip", raw[0]), ("tokens(raster)@previous:skip", raw[3])):
        cached = acting(policy, mode)
        records = [cached.act(o.images, o.state)[1] for o in seen]
        assert all(r.kept_tokens for r in records[1:])
        torch.testing.assert_close(cached._tokens_seen._patches[0], reference)
    cached = acting(policy, "tokens:skip", "every(3)")  # computed anew at the last
    for o in seen:
        cached.act(o.images, o.state)
    torch.testing.assert_close(cached._tokens_seen._patches[0], raw[3])


# How it is written


@pytest.mark.parametrize("text", MODES)
def test_modes_are_read_as_they_are_printed(policy, text):
    mode = parse_mode(f" {text} ")
    assert str(mode) == text and mode == parse_mode(text) and mode.name == "tokens"
    assert mode.splice is (":skip" not in text)  # whether everything is computed
    mode.require_fits(policy)


def test_what_a_mode_says():
    assert parse_selection("tokens(random)@previous[2:]:skip") == Selection("skip", "random", True, 2)
    assert parse_selection("tokens:splice") == Selection("splice")


@pytest.mark.parametrize(
    "text",
    [
        "tokens",
        "tokens:",
        "tokens:fast",
        "tokens[:2]:skip",
        "tokens(best):skip",
        "tokens[1:]:fuse",
        "tokens(random):fuse",
    ]
    + ["tokens@anchor:skip", "tokens[1:](random):skip", "tokens()", "tokens[x:]:skip"],
)
def test_what_is_no_mode_is_said(text):
    with pytest.raises(ValueError, match="cannot read 'tokens.*write tokens:HOW with splice, skip or fuse"):
        parse_mode(text)


def test_layers_that_are_not_there_and_an_engine_are_refused(policy):
    acting(policy, "tokens[2:]:skip")
    with pytest.raises(ValueError, match=r"'tokens\[3:\]:skip' names layers that a prefix of 3 layers does not have"):
        acting(policy, "tokens[3:]:skip")
    with pytest.raises(ValueError, match="computes single tokens, which the engine does not"):
        parse_mode("tokens:skip").require_fits(replace(policy, model=type("Engine", (), {"config": policy.config})()))
