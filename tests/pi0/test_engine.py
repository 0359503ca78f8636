"""The engine against eager Pi0, its kernels interpreted on the CPU in float32: every path that a mode takes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kvlab.pi0 import GemmaConfig, KVCache, Pi0, SiglipConfig
from kvlab.pi0.engine import Engine, accelerate, products
from kvlab.pi0.engine.buffers import Buffers
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from small import small_config

# A number that overflows on its way to an answer that is right was read where it should not have been.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
ROUNDING = 2e-6  # relative, in float32
_STREAM = {"depth": 2, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32}
CONFIG = small_config(
    vision=SiglipConfig(width=24, depth=2, mlp_dim=40, num_heads=2, patch_size=8),
    prefix=GemmaConfig(width=64, mlp_dim=96, **_STREAM),
    expert=GemmaConfig(width=32, mlp_dim=64, **_STREAM),
    max_tokens=9,
    image_size=48,
    state_dim=5,
    action_dim=3,
    chunk=5,
)  # two cameras of 36 tokens: more rows than one block of a product holds
MODES = ["none", "full", "prefix", "vision_only:splice", "vision_only:skip", "state_only:skip", "layer_wise:splice"]
MODES += ["layer_wise[1:]:skip", "text_fixed:splice", "text_fixed:skip"]
IMAGES, PREFIX = CONFIG.cameras, (*CONFIG.cameras, "language")


@pytest.fixture(params=[{"pi05": False}, {"pi05": True}], ids=["pi0", "pi05"])
def small(request) -> Pi0:
    torch.manual_seed(0)
    made = Pi0(replace(CONFIG, **request.param)).eval().requires_grad_(False)
    for parameter in made.parameters():  # norms too, since a wrong one would not be seen under zeros
        parameter.normal_(std=0.1 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
    return made


@pytest.fixture
def engine(small) -> Engine:
    return Engine(small)


@pytest.fixture
def moments(small) -> list[dict[str, Tensor]]:
    """Two moments of one prompt."""
    torch.manual_seed(1)
    tokens, size = torch.randint(0, CONFIG.vocab_size, (1, 7)), small.config.image_size
    return [
        {
            "images": torch.rand(2, 3, size, size) * 2 - 1,
            "tokens": tokens,
            "state": torch.randn(1, CONFIG.state_dim),
            "noise": torch.randn(1, CONFIG.chunk, CONFIG.action_dim),
        }
        for _ in range(2)
    ]


def prefill(model: Pi0 | Engine, moment: dict, names=PREFIX, kept: KVCache | None = None, depth=None) -> KVCache:
    images = model.embed_images(moment["images"])
    embeds = {**dict(zip(IMAGES, images[:, None], strict=True)), "language": model.embed_language(moment["tokens"])}
    return model.prefill({n: (embeds[n], None) for n in names}, kept, depth)


def whole(model: Pi0 | Engine, moment: dict) -> KVCache:
    return model.encode_state(moment["state"], prefill(model, moment))


def error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def assert_same(ours: KVCache, theirs: KVCache) -> None:
    assert ours.names == theirs.names
    for name in theirs.names:
        mine, other = ours.segments[name], theirs.segments[name]
        assert error(mine.keys, other.keys) < ROUNDING and error(mine.values, other.values) < ROUNDING
        assert torch.equal(mine.positions, other.positions) and mine.valid is other.valid is None


def test_an_inference_is_that_of_the_model_at_every_stage(small, engine, moments):
    moment = moments[0]
    images = moment["images"]
    assert error(engine.embed_images(images), small.embed_images(images)) < ROUNDING
    theirs, ours = whole(small, moment), whole(engine, moment)
    assert_same(ours, theirs)
    seen = {"ours": [], "theirs": []}
    ours = engine.denoise(ours, moment["noise"], lambda step, x: seen["ours"].append((step, x.clone())))
    theirs = small.denoise(theirs, moment["noise"], lambda step, x: seen["theirs"].append((step, x.clone())))
    assert error(ours, theirs) < ROUNDING
    for (step, mine), (same, other) in zip(seen["ours"], seen["theirs"], strict=True):
        assert step == same and error(mine, other) < ROUNDING


@pytest.mark.parametrize("small", [{"image_size": size} for size in (64, 96)], indirect=True, ids=["two", "three"])
def test_few_rows_attend_to_several_blocks_of_keys(small, engine, moments):
    """A block has 128 keys; there are 141 and 301. What was seen is kept: words, state and actions are few rows."""
    then, now = moments
    kept, words = prefill(small, then).take(IMAGES), small.embed_language(now["tokens"])
    fresh = {"language": (words, None)}
    theirs, ours = (one.encode_state(now["state"], one.prefill(fresh, kept)) for one in (small, engine))
    assert_same(ours, theirs)
    assert error(engine.denoise(ours, now["noise"]), small.denoise(theirs, now["noise"])) < ROUNDING


@pytest.mark.parametrize("small", [{"pi05": False}], indirect=True)  # Pi0.5's bias overflows nothing
def test_the_last_step_reads_no_further_one(engine, moments):
    cache = whole(engine, moments[0])
    given = engine._denoising[CONFIG.denoising_steps, 1.0]._loop
    behind = torch.cat([given.b_in, torch.full_like(given.b_in[:1], -1e9)])
    engine._denoising[CONFIG.denoising_steps, 1.0]._loop = replace(given, b_in=behind[:-1])
    engine.denoise(cache, moments[0]["noise"])


@pytest.mark.parametrize("small", [{"pi05": False}], indirect=True)  # Pi0.5 has no state token
def test_the_state_token_comes_with_the_first_step_or_when_it_is_read(small, engine, moments, monkeypatch):
    alone, run = [], engine._state.run
    monkeypatch.setattr(engine._state, "run", lambda *given, **options: alone.append(1) or run(*given, **options))
    ours, theirs = ([whole(model, moment) for moment in moments] for model in (engine, small))
    answers = [engine.denoise(cache, m["noise"], steps=2) for cache, m in zip(ours, moments, strict=True)]
    for answer, cache, m in zip(answers, theirs, moments, strict=True):
        assert error(answer, small.denoise(cache, m["noise"], steps=2)) < ROUNDING
    assert torch.equal(engine.denoise(ours[0], moments[0]["noise"], steps=2), answers[0])
    assert_same(ours[0], theirs[0])
    assert not alone
    answers = []
    for model in (engine, small):
        state = whole(model, moments[1]).take(["state"])  # of one moment, behind the prefix of another
        cache = prefill(model, moments[0]).join(state, model.order)
        answers.append(model.denoise(cache, moments[0]["noise"], steps=2))
    assert alone and error(*answers) < ROUNDING


@pytest.mark.parametrize("fresh", [("language",), IMAGES])
def test_what_is_fresh_attends_to_what_is_kept(small, engine, moments, fresh):
    then, now = moments
    kept = prefill(small, then).take([n for n in PREFIX if n not in fresh])
    prefill(engine, now)  # leaves another moment in the buffers
    theirs, ours = prefill(small, now, fresh, kept), prefill(engine, now, fresh, kept)
    assert_same(ours, theirs)
    theirs, ours = small.encode_state(now["state"], theirs), engine.encode_state(now["state"], ours)
    assert error(engine.denoise(ours, now["noise"]), small.denoise(theirs, now["noise"])) < ROUNDING


def test_other_numbers_of_denoising_steps(small, engine, moments):
    ours, theirs = whole(engine, moments[0]), whole(small, moments[0])
    for steps in (1, 5, 2, 1):
        seen, noise = [], moments[0]["noise"]
        answer = engine.denoise(ours, noise, lambda step, x, seen=seen: seen.append(step), steps)
        assert seen == [*range(1, steps + 1)]
        assert error(answer, small.denoise(theirs, noise, steps=steps)) < ROUNDING
    answer = engine.denoise(ours, noise, steps=1, start=0.1)
    assert error(answer - noise, small.denoise(theirs, noise, steps=1, start=0.1) - noise) < 10 * ROUNDING
    both = torch.cat([m["noise"] for m in moments])
    answer = engine.denoise(ours.repeat(2), both, steps=5)
    assert error(answer, small.denoise(theirs.repeat(2), both, steps=5)) < ROUNDING


def test_lower_layers_alone(small, engine, moments):
    then, now = moments
    old = prefill(small, then)
    theirs, ours = prefill(small, now, depth=1).extend(old), prefill(engine, now, depth=1).extend(old)
    assert_same(ours, theirs)


def test_buffers_hold_what_was_loaded_last_and_caches_stay_as_they_were(small, engine, moments):
    caches = [whole(engine, moment) for moment in moments]
    answers = [engine.denoise(cache, m["noise"]) for cache, m in zip(caches, moments, strict=True)]
    again = engine.denoise(caches[0], moments[0]["noise"])
    assert torch.equal(again, answers[0]) and not torch.equal(answers[0], answers[1])
    assert_same(caches[0], whole(small, moments[0]))
    both = engine.denoise(caches[0].repeat(2), torch.cat([m["noise"] for m in moments]))
    assert torch.equal(both[:1], answers[0])
    assert error(both, small.denoise(whole(small, moments[0]).repeat(2), torch.cat([m["noise"] for m in moments]))) < (
        ROUNDING
    )


def test_the_same_words_after_the_same_images_are_not_computed_again(engine, moments):
    made = prefill(engine, moments[0])
    assert prefill(engine, moments[0], ("language",), made.take(IMAGES)) is made
    assert prefill(engine, moments[0], ("language",), prefill(engine, moments[1]).take(IMAGES)) is not made
    prefill(engine, moments[0])
    other = moments[0] | {"tokens": moments[0]["tokens"].clone()}  # another prompt, as far as anyone has looked
    assert prefill(engine, other, ("language",), made.take(IMAGES)) is not made


def test_kept_segments_are_known_to_stand_where_they_stood_without_waiting_for_a_gpu(engine, moments, monkeypatch):
    kept = prefill(engine, moments[0]).take(IMAGES)
    monkeypatch.setattr(torch, "equal", lambda *_: pytest.fail("read two tensors' numbers"))
    other = moments[1] | {"tokens": moments[1]["tokens"].flip(1)}
    assert prefill(engine, other, ("language",), kept).names == PREFIX


@pytest.mark.parametrize("mode", MODES)
def test_a_policy_that_reuses_answers_alike(policy, moments, mode):
    """In closed loop with every mode's own path; the policy's tokenizer knows few words."""
    torch.manual_seed(2)
    model = Pi0(CONFIG).eval().requires_grad_(False)
    policy = replace(
        policy, model=model, stats={k: v[:1].repeat(5 if "state" in k else 3) for k, v in policy.stats.items()}
    )
    rng = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (3, 2, 48, 48, 3), generator=rng, dtype=torch.uint8).numpy()
    answers = []
    for one in (policy, accelerate(policy)):
        acting = CachedPolicy(one, parse_mode(mode), parse_gate("pixels >= -1"))
        acting.reset("pick up the bowl", seed=(0,))
        state = torch.arange(5).float().numpy()
        answers.append([acting.act(dict(zip(IMAGES, f, strict=True)), state + i) for i, f in enumerate(frames)])
    for (theirs, old), (ours, new) in zip(*answers, strict=True):
        assert error(torch.from_numpy(ours), torch.from_numpy(theirs)) < 1e-5
        assert new.reused == old.reused


def test_what_the_engine_does_not_run_is_said(small, engine, moments, tiny, monkeypatch):
    with pytest.raises(ValueError, match="share one head of keys"):
        Engine(Pi0(tiny))
    with pytest.raises(ValueError, match="chunks of at most 64"):
        Engine(Pi0(replace(CONFIG, chunk=65)))
    x = torch.zeros(1, 3, CONFIG.prefix.width)
    with pytest.raises(ValueError, match="without padding"):
        engine.prefill({"language": (x, torch.tensor([[True, True, False]]))})
    with pytest.raises(ValueError, match="without padding"):
        engine.prefill({"language": (x.expand(2, -1, -1), None)})
    made = prefill(engine, moments[0])
    with pytest.raises(ValueError, match="'language' cannot be kept: it would move"):
        prefill(engine, moments[0], ("agentview",), made.take(["language"]))
    with pytest.raises(ValueError, match="more than the 81"):
        engine.denoise(KVCache({**made.segments, "more": made.segments["agentview"]}), moments[0]["noise"])
    with pytest.raises(ValueError, match="one chunk at a time"):
        engine.denoise(made.repeat(2), moments[0]["noise"].repeat(2, 1, 1), watch=print)
    monkeypatch.setattr("kvlab.pi0.engine.engine.knobs.runtime.interpret", False)
    with pytest.raises(ValueError, match="needs a model in bfloat16 on a CUDA GPU"):
        Engine(small)


def test_views_of_the_buffers_overlap_as_the_streams_see_each_other():
    for pi05, first in ((False, CONFIG.chunk + 1), (True, CONFIG.chunk)):
        buffers = Buffers(replace(CONFIG, pi05=pi05), torch.zeros(1))
        buffers.prefix[0][:, 0] = 1
        assert buffers.chunk[0][:, first].eq(1).all() and buffers.state[0][:, first - CONFIG.chunk].eq(1).all()


@pytest.mark.parametrize("by", ["", "gelu", "gated"])
def test_rows_in_eight_bits_keep_their_size(by):
    """In float32, since the interpreter loses the carry of what it rounds up."""
    torch.manual_seed(0)
    x = torch.randn(5, 70) * torch.logspace(-3, 0, 5)[:, None]
    x[2] = 0
    exact = {
        "": lambda: x,
        "gelu": lambda: F.gelu(x, approximate="tanh"),
        "gated": lambda: F.gelu(x[:, :35], approximate="tanh") * x[:, 35:],
    }[by]()
    rows, sizes = products.Eight().rows(x, by)
    assert error(rows * sizes[:, None], exact) < ROUNDING
    largest = torch.full((5,), products.LARGEST)
    largest[2] = 0
    assert torch.allclose(rows.abs().amax(1), largest)


def test_what_eight_bits_hold_comes_out_of_them():
    torch.manual_seed(0)
    held, out, sizes = torch.randn(5, 70).to(products.FLOAT8), torch.empty(5, 70, dtype=products.FLOAT8), torch.empty(5)
    held[:, 3] = products.LARGEST
    products.rows_in_eight[(5,)](held.float() * 8, out, sizes, products.LARGEST, products.TINY, N=70, BLOCK=128, BY="")
    assert torch.equal(out.float(), held.float()) and (sizes == 8).all()


def test_no_norm_exceeds_eight_bits():
    torch.manual_seed(0)
    scale, shift, x = torch.randn(64), torch.randn(64), torch.randn(9, 64)
    x[0], x[1, 1:] = 0, 0
    unit, numbers = products.Eight().unit, products.LARGEST
    assert (F.rms_norm(1e6 * x, (64,), scale) / unit(scale)).abs().max() < numbers
    assert (F.layer_norm(1e6 * x, (64,), scale, shift) / unit(scale, shift)).abs().max() < numbers


def test_the_engine_of_eight_bits_is_that_of_the_model_but_for_them(small, moments):
    """On a CPU all is scaled as for eight bits and kept in float32."""
    engine, moment = Engine(small, eight=True), moments[0]
    assert error(engine.embed_images(moment["images"]), small.embed_images(moment["images"])) < ROUNDING
    theirs, ours = whole(small, moment), whole(engine, moment)
    assert_same(ours, theirs)
    assert error(engine.denoise(ours, moment["noise"]), small.denoise(theirs, moment["noise"])) < ROUNDING
