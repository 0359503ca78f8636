"""`Engine`: Pi0's inference as CUDA graphs of few kernels, with the methods of `kvlab.pi0.Pi0`.

Every shape that is asked for is recorded once, as a graph over fixed buffers, and replayed from then on (`Graphs`).
Large products are the vendor library's (`Vision`, `ManyRows`); few rows go through all layers in one kernel (`FewRows`,
`Denoising`). Eager Pi0 stays the reference. Where TRITON_INTERPRET=1 is set, the same steps run on a CPU, one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from triton import knobs

from kvlab.pi0.cache import LANGUAGE, STATE, KVCache, SegmentKV
from kvlab.pi0.engine.buffers import Buffers, own
from kvlab.pi0.engine.denoising import Denoising
from kvlab.pi0.engine.few import FewRows
from kvlab.pi0.engine.graphs import Graphs
from kvlab.pi0.engine.late import LateState
from kvlab.pi0.engine.many import ManyRows
from kvlab.pi0.engine.norms import Norms
from kvlab.pi0.engine.products import Eight, Numbers
from kvlab.pi0.engine.sizes import FEW, rope_rows
from kvlab.pi0.engine.vision import Vision
from kvlab.pi0.model import Embeds, Pi0
from kvlab.pi0.policy import Policy


def accelerate(policy: Policy, eight: bool = False) -> Policy:
    """The policy with its model run by an `Engine`. Raises ValueError for a model that the engine cannot run."""
    return _EnginePolicy(**vars(policy) | {"model": Engine(policy.model, eight)})


class _EnginePolicy(Policy):
    """What a frame goes through on the GPU is recorded, too: by itself each of its operations takes as long as all."""

    def _shrunk(self, raw: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 size size"]:
        return self.model.graphs(("frames", raw.shape), lambda: super(_EnginePolicy, self)._shrunk, raw).clone()


class Engine:
    """Inference of one observation at a time, without padding. Answers are those of the model to rounding.

    With `eight`, products of many rows (images and prefill) are in eight bits (e4m3, `products.Eight`).
    Raises ValueError for a model on a CPU (unless Triton interprets), in float32 on a GPU, with heads that do not share
    their keys, or with chunks of more than `FEW` actions.
    """

    def __init__(self, model: Pi0, eight: bool = False):
        self.model, self.config, self.eight = model, model.config, eight
        c, weight = model.config, model.action_out.weight
        if not (weight.is_cuda and weight.itemsize == 2) and not knobs.runtime.interpret:
            raise ValueError(
                f"the engine needs a model in bfloat16 on a CUDA GPU, and this one is in {weight.dtype} on "
                f"{weight.device}: load it with device='cuda', dtype=torch.bfloat16"
            )
        if c.prefix.num_kv_heads != 1 or c.chunk > FEW:
            raise ValueError(
                f"the engine runs heads that share one head of keys, and chunks of at most {FEW} actions; this model "
                f"has {c.prefix.num_kv_heads} such heads and chunks of {c.chunk}: run it without the engine"
            )
        self.order, self.action_out = model.order, model.action_out
        numbers = Eight() if eight else Numbers()
        self.graphs, self._kv, self._vision = Graphs(weight.device), Buffers(c, weight), Vision(model.vision, numbers)
        norms = Norms.plain(model.prefix)
        self._many = ManyRows(model.prefix, c.prefix, norms, self._kv.prefix, numbers)
        self._few = FewRows(model.prefix, c.prefix, norms, FEW, self._kv.prefix)
        self._denoising = {(c.denoising_steps, 1.0): Denoising(model, self._kv.chunk, c.denoising_steps)}
        norms = self._denoising[c.denoising_steps, 1.0].norms
        self._state = FewRows(model.expert, c.expert, norms, 1, self._kv.state)
        self._prompt: tuple[Tensor, Tensor] | None = None  # the last tokens, and their embeddings
        self._said: tuple[Tensor, KVCache] | None = None  # the last embeddings that were prefilled, and the cache

    def embed_images(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n tokens width"]:
        """As `Pi0.embed_images`."""
        return self.graphs(("vision", len(images)), lambda: self._vision, images).clone()

    def embed_language(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens width"]:
        """As `Pi0.embed_language`; the same tensor for the same tokens."""
        if self._prompt is None or self._prompt[0] is not tokens:
            self._prompt = (tokens, self.model.embed_language(tokens))
        return self._prompt[1]

    def prefill(self, fresh: Embeds, kept: KVCache | None = None, depth: int | None = None) -> KVCache:
        """As `Pi0.prefill`. Raises ValueError for padding and for more than one observation, too.

        The same words after the same images come out as they did in the last prefill, and are not computed again.
        """
        kept = KVCache({}) if kept is None else kept.prefix
        if known := self._known(fresh, kept):
            return known
        names = [n for n in self.order if n in fresh or n in kept.segments]
        sizes = {n: fresh[n][0].shape[1] if n in fresh else kept.segments[n].keys.shape[3] for n in names}
        places = self._places(sizes, fresh, kept)
        new = [n for n in names if n in fresh]
        rows = sum(sizes[n] for n in new)
        past = self._kv.load(list(kept.segments.values()), first=rows)
        where = [places[n] for n in new]
        shape = ("prefix", tuple((size, n in fresh) for n, size in sizes.items()), depth)
        self.graphs(shape, partial(self._prefix_layers, where, past, depth), torch.cat([fresh[n][0][0] for n in new]))
        keys, values = (x.split([sizes[n] for n in new], 3) for x in own(self._kv.prefix, rows, depth))
        segments = {n: SegmentKV(k, v, None, places[n]) for n, k, v in zip(new, keys, values, strict=True)}
        made = KVCache(segments).join(kept, self.order)
        if depth is None:
            self._kv.hold(list(made.segments.values()))
            self._said = (fresh[LANGUAGE][0], made) if LANGUAGE in fresh else None
        return made

    def encode_state(self, state: Float[Tensor, "1 state"], prefix: KVCache) -> KVCache:
        """As `Pi0.encode_state`. The token is computed in the first denoising step, if nothing reads it before."""
        if self.config.pi05:
            return prefix
        prefix = prefix.prefix
        place = _place(sum(s.positions.shape[1] for s in prefix.segments.values()), 1, state.device)
        return prefix.join(KVCache({STATE: LateState(state, prefix, place, self._state_token)}), self.order)

    def denoise(
        self,
        cache: KVCache,
        noise: Float[Tensor, "batch chunk action"],
        watch: Callable[[int, Tensor], None] | None = None,
        steps: int | None = None,
        start: float = 1.0,
    ) -> Float[Tensor, "batch chunk action"]:
        """As `Pi0.denoise`, one chunk of a batch after another. ValueError where `watch` is to see several."""
        if len(noise) > 1:
            if watch:
                raise ValueError("the engine shows the steps of one chunk at a time: denoise them one by one")
            return torch.cat(
                [self.denoise(_one(cache, i), noise[i : i + 1], None, steps, start) for i in range(len(noise))]
            )
        way = steps or self.config.denoising_steps, start
        if way not in self._denoising:
            self._denoising[way] = Denoising(self.model, self._kv.chunk, *way)
        prefix, state, inputs = list(cache.prefix.segments.values()), cache.segments.get(STATE), [noise]
        if late := self._denoising[way].takes_state and isinstance(state, LateState) and state.is_missing_after(prefix):
            kept = self._kv.load(prefix) + 1
            inputs.append(state.state)
        else:
            kept = self._kv.load(prefix, state)
        trail = self.graphs(("denoise", kept, late, *way), partial(self._denoising[way].after, kept), *inputs)
        if late:
            state.fill(own(self._kv.state, 1))
            self._kv.hold(state=state)
        trail = trail.to(noise.dtype, copy=True)  # the graph's own is overwritten by the next
        for step, actions in enumerate(trail if watch else (), start=1):
            watch(step, actions[None])
        return trail[-1:]

    def _known(self, fresh: Embeds, kept: KVCache) -> KVCache | None:
        """What a prefill of words alone came to, where it was the last, and the images are the same."""
        if fresh.keys() != {LANGUAGE} or self._said is None or self._said[0] is not fresh[LANGUAGE][0]:
            return None
        made = self._said[1]
        same = all(made.segments[name] is kept.segments.get(name) for name in self.config.cameras)
        return made if same else None

    def _places(self, sizes: Mapping[str, int], fresh: Embeds, kept: KVCache) -> dict[str, Int[Tensor, "1 tokens"]]:
        """Each segment's positions. ValueError for padding, a batch, or kept tokens that moved."""
        if any(len(x) > 1 or not (valid is None or valid.all()) for x, valid in fresh.values()):
            raise ValueError("the engine takes one observation without padding: leave padded tokens out")
        places, start = {}, 0
        for name, size in sizes.items():
            places[name] = _place(start, size, self.action_out.weight.device)
            if name in kept.segments and not _equal(kept.segments[name].positions, places[name]):
                raise ValueError(f"segment {name!r} cannot be kept: it would move to other positions")
            start += size
        return places

    def _prefix_layers(self, where: Sequence[Tensor], kept: int, depth: int | None) -> Callable[[Tensor], None]:
        by = rope_rows(torch.cat(list(where), dim=1)[0], self.config.prefix.head_dim)
        stream = self._few if len(by[0]) <= FEW else self._many
        return partial(stream.run, kept=kept, by=by, depth=depth)

    def _state_token(self, late: LateState) -> tuple[Tensor, Tensor]:
        kept = self._kv.load(list(late.prefix.segments.values()))
        self.graphs(("state", kept), partial(self._state_layers, kept), late.state)
        self._kv.hold(state=late)
        return own(self._kv.state, 1)

    def _state_layers(self, kept: int) -> Callable[[Tensor], None]:
        by = rope_rows(torch.tensor([kept], device=self.action_out.weight.device), self.config.expert.head_dim)
        embed = self.model.state_in
        return lambda state: self._state.run(F.linear(state, embed.weight, embed.bias), kept, by)


@cache
def _place(start: int, size: int, device: torch.device) -> Int[Tensor, "1 tokens"]:
    """Positions of `size` tokens from `start` on."""
    return torch.arange(start, start + size, device=device)[None]


def _equal(a: Tensor, b: Tensor) -> bool:
    """Of what is one tensor mostly: only where it is not, a GPU is waited for."""
    return a is b or torch.equal(a, b)


def _one(cache: KVCache, index: int) -> KVCache:
    """The cache of one observation of a batch."""
    return KVCache(
        {
            name: SegmentKV(
                s.keys[:, index : index + 1],
                s.values[:, index : index + 1],
                None,
                s.positions[index : index + 1],
            )
            for name, s in cache.segments.items()
        }
    )
