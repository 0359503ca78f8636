"""The model against one joint forward pass with Pi0's block mask, and what follows from that mask."""

import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvlab.pi0 import KVCache, Pi0
from kvlab.pi0.layers import SiglipBlock
from kvlab.pi0.model import time_embedding

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # angles of the rotary embedding are float32


class Inputs:
    """Two observations with prompts of six and four tokens (the rest is padding), noise, and actions."""

    def __init__(self, model: Pi0, seed: int = 1):
        c, self.model = model.config, model
        self.random = torch.Generator().manual_seed(seed)
        self.state = self.normal(2, c.state_dim)
        self.noise = self.normal(2, c.chunk, c.action_dim)
        self.seen = torch.ones(2, c.image_tokens, dtype=torch.bool)
        images = [self.normal(2, 3, c.image_size, c.image_size).clamp(-1, 1) for _ in c.cameras]
        tokens = torch.randint(2, c.vocab_size, (2, c.max_tokens), generator=self.random)
        written = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], dtype=torch.bool)
        self.fresh = {n: (model.embed_images(i), self.seen) for n, i in zip(c.cameras, images, strict=True)}
        self.fresh["language"] = (model.embed_language(tokens), written)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random, dtype=torch.float64)

    def cache(self) -> KVCache:
        return self.model.encode_state(self.state, self.model.prefill(self.fresh))


@pytest.fixture
def inputs(model) -> Inputs:
    return Inputs(model)


def rotary(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary embedding of (batch, tokens, heads, dim), with the two halves as real and imaginary parts."""
    real, imaginary = x.chunk(2, -1)
    frequency = 10_000.0 ** -torch.linspace(0, 1, x.shape[-1] // 2 + 1, dtype=torch.float64)[:-1]
    turn = torch.polar(torch.ones((), dtype=torch.float64), positions[..., None].double() * frequency)
    turned = torch.complex(real, imaginary) * turn[:, :, None]
    return torch.cat([turned.real, turned.imag], -1)


def rms(x: Tensor, norm: nn.Module) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + norm.scale)


def joint_forward(inputs: Inputs, actions: Tensor, time: float) -> tuple[Tensor, Tensor, Tensor]:
    """Velocity, and the state token's keys and values, by one pass over the sequence with an explicit mask."""
    model, c = inputs.model, inputs.model.config
    clock = time_embedding(torch.full((2,), time), c.expert.width).double()[:, None].expand(-1, c.chunk, -1)
    mixed = F.silu(model.time_in(torch.cat([model.action_in(actions), clock], -1)))
    streams = [torch.cat([x for x, _ in inputs.fresh.values()], 1), None]
    streams[1] = torch.cat([model.state_in(inputs.state)[:, None], model.time_out(mixed)], 1)
    prefix, suffix = (x.shape[1] for x in streams)
    valid = torch.cat([*(v for _, v in inputs.fresh.values()), torch.ones(2, suffix, dtype=torch.bool)], 1)
    positions = valid.cumsum(1) - 1
    block = torch.tensor([0] * prefix + [1] + [2] * c.chunk)
    sees = (block[None, :] <= block[:, None]) & valid[:, None, :]  # (batch, query, key)
    heads, kv, dim = c.expert.num_heads, c.expert.num_kv_heads, c.expert.head_dim
    state_keys, state_values = [], []
    for layers in zip(model.prefix, model.expert, strict=True):
        qkv = torch.cat([m.qkv(rms(x, m.norm_attn)) for m, x in zip(layers, streams, strict=True)], 1)
        q, k, v = qkv.unflatten(-1, (-1, dim)).split([heads, kv, kv], dim=2)
        q, k = rotary(q, positions), rotary(k, positions)
        state_keys.append(k[:, prefix])
        state_values.append(v[:, prefix])
        k, v = (t.repeat_interleave(heads // kv, dim=2) for t in (k, v))
        score = torch.einsum("bqhd,bkhd->bhqk", q, k) / dim**0.5
        weight = score.masked_fill(~sees[:, None], -torch.inf).softmax(-1)
        mixed = torch.einsum("bhqk,bkhd->bqhd", weight, v).flatten(2).split([prefix, suffix], 1)
        for i, m in enumerate(layers):
            x = streams[i] + m.out(mixed[i])
            gate, up = m.gate_up(rms(x, m.norm_mlp)).chunk(2, -1)
            streams[i] = x + m.down(F.gelu(gate, approximate="tanh") * up)
    velocity = model.action_out(rms(streams[1][:, 1:], model.expert_norm))
    return velocity, torch.stack(state_keys), torch.stack(state_values)


@pytest.mark.parametrize("time", [1.0, 0.4])
def test_velocity_from_caches_is_that_of_the_joint_forward(model, inputs, time):
    expected, _, _ = joint_forward(inputs, inputs.noise, time)
    velocity = model.velocity(inputs.cache().stacked(), inputs.noise, torch.full((2,), time))
    torch.testing.assert_close(velocity, expected, **CLOSE)


def test_the_state_token_does_not_depend_on_the_denoising_step(model, inputs):
    """Computed once, its keys and values are those of the joint forward at any time and for any noisy actions."""
    state = inputs.cache().segments["state"]
    for time in (1.0, 0.5, 0.1):
        _, keys, values = joint_forward(inputs, inputs.normal(*inputs.noise.shape), time)
        torch.testing.assert_close(state.keys.squeeze(3), keys, **CLOSE)
        torch.testing.assert_close(state.values.squeeze(3), values, **CLOSE)


@pytest.mark.parametrize("asked", [None, 1, 4])
def test_denoising_is_euler_on_the_joint_forward(model, inputs, asked):
    """In the three steps that the config says, or in as many as are asked for."""
    seen, x, steps = {}, inputs.noise, asked or 3
    actions = model.denoise(inputs.cache(), inputs.noise, lambda step, x: seen.update({step: x}), asked)
    for step in range(steps):
        x = x - joint_forward(inputs, x, 1 - step / steps)[0] / steps
        torch.testing.assert_close(seen[step + 1], x, **CLOSE)
    assert torch.equal(seen[steps], actions) and len(seen) == steps


def test_denoising_a_straight_flow_ends_at_its_actions(model, inputs, monkeypatch):
    """With the ideal velocity of one data point, noise - actions, Euler steps are exact."""
    goal = inputs.normal(*inputs.noise.shape)
    times = iter((1.0, 2 / 3, 1 / 3))
    monkeypatch.setattr(model, "_velocity", lambda past, x, *_: (x - goal) / next(times))
    torch.testing.assert_close(model.denoise(inputs.cache(), inputs.noise), goal, **CLOSE)


@pytest.mark.parametrize("camera", ["agentview", "wrist"])
def test_dropping_a_fully_masked_camera_changes_nothing(model, inputs, camera):
    dropped = {n: part for n, part in inputs.fresh.items() if n != camera}
    masked = inputs.fresh | {camera: (inputs.fresh[camera][0], torch.zeros_like(inputs.seen))}
    results = {}
    for name, fresh in (("dropped", dropped), ("masked", masked), ("seen", inputs.fresh)):
        cache = model.encode_state(inputs.state, model.prefill(fresh))
        results[name] = (model.denoise(cache, inputs.noise), cache.segments["language"], cache.segments["state"])
    assert (results["seen"][0] - results["dropped"][0]).abs().max() > 1e-3  # the camera does matter
    torch.testing.assert_close(results["masked"][0], results["dropped"][0])
    for masked, dropped in zip(results["masked"][1:], results["dropped"][1:], strict=True):
        torch.testing.assert_close(masked.keys, dropped.keys)
        torch.testing.assert_close(masked.values, dropped.values)


def test_padding_the_language_changes_nothing(model, inputs):
    """Whatever stands in the padding, and also in a batch with a longer prompt."""
    tokens, written = inputs.fresh["language"]
    padded = inputs.fresh | {"language": (torch.where(written[..., None], tokens, 100.0), written)}
    batch = model.encode_state(inputs.state, model.prefill(padded))
    expected = model.denoise(inputs.cache(), inputs.noise)
    torch.testing.assert_close(model.denoise(batch, inputs.noise), expected)
    second = {n: (x[1:], v[1:]) for n, (x, v) in inputs.fresh.items()}
    second["language"] = (tokens[1:, :4], written[1:, :4])
    alone = model.encode_state(inputs.state[1:], model.prefill(second))
    torch.testing.assert_close(model.denoise(alone, inputs.noise[1:]), expected[1:])


def test_images_do_not_matter_to_each_other(model, inputs):
    """One batch of both cameras gives each the tokens that it has alone, and brightness does change them."""
    images = inputs.normal(2, 3, 16, 16).clamp(-1, 1)
    tokens = model.embed_images(images)
    assert tokens.shape == (2, model.config.image_tokens, model.config.prefix.width)
    torch.testing.assert_close(model.embed_images(images[1:]), tokens[1:])
    assert (model.embed_images(images * 0.5) - tokens).abs().max() > 1e-2


def test_words_are_scaled_as_in_gemma(model):
    tokens = torch.tensor([[3, 3, 7]])
    words = model.embed_language(tokens)
    torch.testing.assert_close(words, model.embedding.weight[tokens] * 32**0.5)


def test_vision_block_is_a_pre_norm_transformer_layer(tiny):
    """torch's own layer with the same weights."""
    torch.manual_seed(0)
    ours = SiglipBlock(tiny.vision)
    theirs = nn.TransformerEncoderLayer(
        16, 2, 24, dropout=0.0, layer_norm_eps=1e-6, norm_first=True, batch_first=True, activation=nn.GELU("tanh")
    )
    pairs = {"self_attn.in_proj_": "qkv.", "self_attn.out_proj.": "out.", "linear1.": "up.", "linear2.": "down."}
    pairs |= {"norm1.": "norm_attn.", "norm2.": "norm_mlp."}
    weights = {k: torch.randn_like(v) * 0.3 for k, v in ours.state_dict().items()}
    ours.load_state_dict(weights)
    theirs.load_state_dict({t + p: weights[o + p] for t, o in pairs.items() for p in ("weight", "bias")})
    x = torch.randn(3, 4, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kept", [["language"], ["agentview"], ["agentview", "wrist"], ["wrist", "language"]])
def test_prefill_beside_kept_segments_is_that_of_the_whole(model, inputs, kept):
    whole = model.prefill(inputs.fresh)
    both = model.prefill({n: part for n, part in inputs.fresh.items() if n not in kept}, kept=whole.take(kept))
    assert both.names == whole.names
    for name in whole.names:
        for a, b in zip(vars(both.segments[name]).values(), vars(whole.segments[name]).values(), strict=True):
            torch.testing.assert_close(a, b)


def test_a_kept_segment_that_would_move_is_an_error(model, inputs):
    whole = model.prefill(inputs.fresh)
    with pytest.raises(ValueError, match="segment 'language' cannot be kept: it would move to other positions"):
        model.prefill({"agentview": inputs.fresh["agentview"]}, kept=whole.take(["language"]))


def test_the_lower_layers_alone_are_those_of_the_whole(model, inputs):
    whole, low = model.prefill(inputs.fresh), model.prefill(inputs.fresh, depth=2)
    assert low.depth == 2
    for name in low.names:
        torch.testing.assert_close(low.segments[name].keys, whole.segments[name].keys[:2])
    with pytest.raises(ValueError, match="same number of layers"):
        model.prefill({"agentview": inputs.fresh["agentview"]}, kept=whole.take(["wrist", "language"]), depth=2)


def test_time_embedding_at_openpis_periods():
    """sin and cos of 2 pi t / period, periods in geometric steps from 0.004 to 4."""
    time = torch.tensor([0.001, 0.25, 1.0])
    embedding = time_embedding(time, 8)
    periods = torch.tensor([4e-3, 4e-2, 4e-1, 4.0], dtype=torch.float64)
    angle = 2 * torch.pi * time[:, None].double() / periods
    torch.testing.assert_close(embedding.double(), torch.cat([angle.sin(), angle.cos()], 1), rtol=0, atol=2e-3)


class Watched:
    """A model's loss on one batch, with the velocity's arguments kept for inspection."""

    def __init__(self, model: Pi0, monkeypatch: pytest.MonkeyPatch):
        self.model, self.inputs = model, Inputs(model, seed=3)
        self.actions = self.inputs.normal(*self.inputs.noise.shape)
        self.valid = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
        predict = model.velocity

        def velocity(past, noisy, time):
            self.past, self.noisy, self.time = past, noisy, time
            self.predicted = predict(past, noisy, time)
            return self.predicted

        monkeypatch.setattr(model, "velocity", velocity)

    def loss(self, draws: int = 1) -> Tensor:
        return self.model.loss(self.inputs.fresh, self.inputs.state, self.actions, self.valid, draws)


@pytest.mark.parametrize("draws", [1, 3])
def test_loss_is_flow_matching(model, draws, monkeypatch):
    """Noise at t = 1, actions at t = 0, target noise - actions, mean over actions in the episode; each draw beside
    the cache of its own observation."""
    watched = Watched(model, monkeypatch)
    loss = watched.loss(draws)
    actions, valid = (t.repeat_interleave(draws, 0) for t in (watched.actions, watched.valid))
    t = watched.time.double()[:, None, None]
    noise = (watched.noisy - (1 - t) * actions) / t
    assert noise.flatten().unique().numel() == noise.numel() and abs(noise.mean()) < 0.5
    torch.testing.assert_close(loss, (watched.predicted - (noise - actions))[valid].square().mean(), **CLOSE)
    for ours, alone in zip(watched.past, watched.inputs.cache().stacked(), strict=True):
        torch.testing.assert_close(ours, alone.repeat_interleave(draws, alone.ndim // 3))  # axis 1; 0 of the mask


def test_times_and_noise_are_drawn_from_their_laws(model, monkeypatch):
    watched = Watched(model, monkeypatch)
    torch.manual_seed(0)
    watched.loss(draws=500)
    assert scipy.stats.kstest(watched.time.numpy(), scipy.stats.beta(1.5, 1, loc=0.001, scale=0.999).cdf).pvalue > 0.01
    t = watched.time.double()[:, None, None]
    noise = (watched.noisy - (1 - t) * watched.actions.repeat_interleave(500, 0)) / t
    assert scipy.stats.kstest(noise.flatten().numpy(), "norm").pvalue > 0.01


def test_gradient_reaches_every_parameter_that_can_matter(model, monkeypatch):
    """All but the last prefix layer's output, of which only keys and values are read."""
    Watched(model.requires_grad_(True), monkeypatch).loss().backward()
    untouched = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    last = f"prefix.{model.config.prefix.depth - 1}"
    assert untouched == {f"{last}.{n}" for n in ("out.weight", "norm_mlp.scale", "gate_up.weight", "down.weight")}


def test_loss_falls_on_one_batch(model, monkeypatch):
    """Measured with the same draws before and after."""
    watched = Watched(model.requires_grad_(True), monkeypatch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

    def measured() -> float:
        torch.manual_seed(99)
        with torch.no_grad():
            return watched.loss(draws=20).item()

    watched.inputs.fresh = {n: (x.detach(), v) for n, (x, v) in watched.inputs.fresh.items()}
    before = measured()
    for step in range(60):
        torch.manual_seed(step)
        optimizer.zero_grad()
        watched.loss(draws=8).backward()
        optimizer.step()
    assert measured() < 0.3 * before
