"""The naming table: our tensors' names beside those in published files, and how the two are told apart.

The published names are those of openpi's PyTorch port (`src/openpi/models_pytorch/pi0_pytorch.py`), which are those of
transformers' PaliGemma and Gemma; LeRobot puts `model.` before each. `*` is the number of a layer. Tensors that we hold
as one are stored in parts: query, key and value; gate and up.
"""

import re
from collections.abc import Iterable, Mapping

from kvlab.pi0.config import GemmaConfig, Pi0Config
from kvlab.pi0.weights import Shape

LEROBOT = "model."
_VLM = "paligemma_with_expert.paligemma."
_VISION = f"{_VLM}model.vision_tower.vision_model."
_EXPERT = "paligemma_with_expert.gemma_expert."


def _linear(ours: str, *theirs: str) -> dict[str, tuple[str, ...]]:
    return {f"{ours}.{part}": tuple(f"{name}.{part}" for name in theirs) for part in ("weight", "bias")}


def _gemma(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    attn, mlp = f"{theirs}layers.*.self_attn.", f"{theirs}layers.*.mlp."
    return {
        f"{ours}.*.qkv.weight": tuple(f"{attn}{p}_proj.weight" for p in "qkv"),
        f"{ours}.*.out.weight": (f"{attn}o_proj.weight",),
        f"{ours}.*.gate_up.weight": (f"{mlp}gate_proj.weight", f"{mlp}up_proj.weight"),
        f"{ours}.*.down.weight": (f"{mlp}down_proj.weight",),
        f"{ours}.*.norm_attn.scale": (f"{theirs}layers.*.input_layernorm.weight",),
        f"{ours}.*.norm_mlp.scale": (f"{theirs}layers.*.post_attention_layernorm.weight",),
    }


NAMES: dict[str, tuple[str, ...]] = {
    **_linear("vision.patch", f"{_VISION}embeddings.patch_embedding"),
    "vision.position": (f"{_VISION}embeddings.position_embedding.weight",),
    **_linear("vision.blocks.*.norm_attn", f"{_VISION}encoder.layers.*.layer_norm1"),
    **_linear("vision.blocks.*.qkv", *(f"{_VISION}encoder.layers.*.self_attn.{p}_proj" for p in "qkv")),
    **_linear("vision.blocks.*.out", f"{_VISION}encoder.layers.*.self_attn.out_proj"),
    **_linear("vision.blocks.*.norm_mlp", f"{_VISION}encoder.layers.*.layer_norm2"),
    **_linear("vision.blocks.*.up", f"{_VISION}encoder.layers.*.mlp.fc1"),
    **_linear("vision.blocks.*.down", f"{_VISION}encoder.layers.*.mlp.fc2"),
    **_linear("vision.norm", f"{_VISION}post_layernorm"),
    **_linear("vision.project", f"{_VLM}model.multi_modal_projector.linear"),
    "embedding.weight": (f"{_VLM}model.language_model.embed_tokens.weight",),
    **_gemma("prefix", f"{_VLM}model.language_model."),
    **_gemma("expert", f"{_EXPERT}model."),
    "expert_norm.scale": (f"{_EXPERT}model.norm.weight",),
    **_linear("expert.*.norm_attn.modulation", f"{_EXPERT}model.layers.*.input_layernorm.dense"),
    **_linear("expert.*.norm_mlp.modulation", f"{_EXPERT}model.layers.*.post_attention_layernorm.dense"),
    **_linear("expert_norm.modulation", f"{_EXPERT}model.norm.dense"),
    **_linear("state_in", "state_proj"),
    **_linear("action_in", "action_in_proj"),
    **_linear("time_in", "action_time_mlp_in"),
    **_linear("time_out", "action_time_mlp_out"),
    **_linear("action_out", "action_out_proj"),
}

# Where a file lacks the name on the left, it may hold the tensor under the one on the right: the embedding is tied to
# the output layer, and Pi0.5 has names of its own for what embeds the denoising time.
ELSEWHERE = {
    f"{_VLM}model.language_model.embed_tokens.weight": f"{_VLM}lm_head.weight",
    **{f"action_time_mlp_{io}.{part}": f"time_mlp_{io}.{part}" for io in ("in", "out") for part in ("weight", "bias")},
}

PI05_MARK = f"{_EXPERT}model.norm.dense.weight"  # only Pi0.5's expert has adaptive norms


def wanted(config: Pi0Config, ours: Mapping[str, Shape], stored: Iterable[str]) -> dict[str, dict[str, Shape]]:
    """For each of our tensors its parts in a file with the names `stored`, with the shapes that they should have."""
    stored = set(stored)
    prefix = LEROBOT if any(name.startswith(LEROBOT) for name in stored) else ""
    table = {}
    for name, shape in ours.items():
        layer = re.search(r"\.(\d+)\.", name)
        parts = NAMES[name.replace(layer[0], ".*.") if layer else name]
        parts = [prefix + p.replace("*", layer[1]) if layer else prefix + p for p in parts]
        parts = [p if p in stored else _elsewhere(p, prefix, stored) for p in parts]
        sizes = _sizes(name, shape[0], len(parts), config)
        table[name] = {p: (size, *shape[1:]) for p, size in zip(parts, sizes, strict=True)}
    return table


def _elsewhere(name: str, prefix: str, stored: set[str]) -> str:
    other = prefix + ELSEWHERE.get(name.removeprefix(prefix), "")
    return other if other in stored else name


def _sizes(name: str, total: int, parts: int, config: Pi0Config) -> list[int]:
    """Lengths along the first axis: queries may be more than keys and values; all else is in equal parts."""
    if parts == 3 and not name.startswith("vision."):
        stream: GemmaConfig = getattr(config, name.split(".")[0])
        return [n * stream.head_dim for n in (stream.num_heads, stream.num_kv_heads, stream.num_kv_heads)]
    return [total // parts] * parts


def spare(config: Pi0Config) -> dict[str, Shape]:
    """Tensors that published files hold and that no action depends on, with their shapes."""
    vocab, prefix, expert = config.vocab_size, config.prefix.width, config.expert.width
    unread = {
        f"{_VLM}model.language_model.norm.weight": (prefix,),  # of the prefix only keys and values are read
        f"{_VLM}lm_head.weight": (vocab, prefix),  # the embedding once more
        f"{_EXPERT}lm_head.weight": (vocab, expert),
    }
    if config.pi05:  # as LeRobot, which skips it
        unread |= {"state_proj.weight": (expert, config.state_dim), "state_proj.bias": (expert,)}
    return {p + name: shape for p in ("", LEROBOT) for name, shape in unread.items()}
