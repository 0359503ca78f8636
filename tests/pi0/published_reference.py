"""Pi0 and Pi0.5 restated from transformers' own blocks, at a tiny size, under the names of published files.

The joint pass (no cache) follows openpi's `gemma_pytorch.py`: every layer's queries, keys and values of both streams
side by side, with Pi0's block mask. Blocks, norms, projections and the rotary embedding are transformers'.
"""

import math

import torch
from torch import Tensor, nn
from transformers import GemmaConfig, GemmaModel, SiglipVisionConfig, SiglipVisionModel
from transformers.models.gemma.modeling_gemma import apply_rotary_pos_emb

from kvlab.pi0 import Pi0Config


class AdaptiveNorm(nn.Module):
    """Norm with scale, shift and gate from a condition, restated in float32 steps (openpi, `gemma.RMSNorm`)."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift, gate = self.dense(condition).unsqueeze(1).split(x.shape[-1], -1)
        normed = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        return normed * (1 + scale) + shift, gate


def gemma(stream, vocab: int) -> GemmaModel:
    return GemmaModel(
        GemmaConfig(
            vocab_size=vocab,
            hidden_size=stream.width,
            intermediate_size=stream.mlp_dim,
            num_hidden_layers=stream.depth,
            num_attention_heads=stream.num_heads,
            num_key_value_heads=stream.num_kv_heads,
            head_dim=stream.head_dim,
            hidden_activation="gelu_pytorch_tanh",
        )
    )


def siglip(config: Pi0Config) -> SiglipVisionModel:
    v = config.vision
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=v.width,
            intermediate_size=v.mlp_dim,
            num_hidden_layers=v.depth,
            num_attention_heads=v.num_heads,
            patch_size=v.patch_size,
            image_size=config.image_size,
            vision_use_head=False,
        )
    )


class Reference(nn.Module):
    """Random weights, every one of them; `published()` is what a file of them holds."""

    def __init__(self, config: Pi0Config):
        super().__init__()
        self.config = c = config
        self.vision, self.language = siglip(c), gemma(c.prefix, c.vocab_size)
        self.projector = nn.Linear(c.vision.width, c.prefix.width)
        self.expert = gemma(c.expert, c.vocab_size)
        width = c.expert.width
        if c.pi05:
            for layer in self.expert.layers:
                layer.input_layernorm, layer.post_attention_layernorm = AdaptiveNorm(width), AdaptiveNorm(width)
            self.expert.norm = AdaptiveNorm(width)
        else:
            self.state_proj = nn.Linear(c.state_dim, width)
        self.action_in_proj, self.action_out_proj = nn.Linear(c.action_dim, width), nn.Linear(width, c.action_dim)
        self.time_in, self.time_out = nn.Linear(width if c.pi05 else 2 * width, width), nn.Linear(width, width)
        self.requires_grad_(False)
        torch.manual_seed(0)
        for parameter in self.parameters():
            parameter.normal_(std=0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)

    def published(self, prefix: str = "") -> dict[str, Tensor]:
        """Tensors by their published names; the tied embedding under `lm_head`, as files have it."""
        vlm, expert = "paligemma_with_expert.paligemma.", "paligemma_with_expert.gemma_expert."
        time = "time_mlp" if self.config.pi05 else "action_time_mlp"
        renamed = {
            "vision.vision_model.": f"{vlm}model.vision_tower.vision_model.",
            "vision.": f"{vlm}model.vision_tower.vision_model.",
            "projector.": f"{vlm}model.multi_modal_projector.linear.",
            "language.embed_tokens.": f"{vlm}lm_head.",
            "language.": f"{vlm}model.language_model.",
            "expert.embed_tokens.": f"{expert}lm_head.",
            "expert.": f"{expert}model.",
            "time_in.": f"{time}_in.",
            "time_out.": f"{time}_out.",
        }
        tensors = {}
        for name, tensor in self.state_dict().items():
            start = next((start for start in renamed if name.startswith(start)), "")
            tensors[prefix + renamed.get(start, "") + name.removeprefix(start)] = tensor.contiguous()
        return tensors

    def embed_prefix(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Images (cameras, 3, size, size) and tokens (1, tokens) as one sequence (1, tokens, width)."""
        seen = self.projector(self.vision(pixel_values=images).last_hidden_state)
        return torch.cat([seen.flatten(0, 1)[None], self.language.embed_tokens(tokens)], 1)

    def sample_actions(self, images: Tensor, tokens: Tensor, state: Tensor, noise: Tensor) -> Tensor:
        steps, x = self.config.denoising_steps, noise
        prefix = self.embed_prefix(images, tokens)
        for step in range(steps):
            x = x - self._velocity(prefix, state, x, 1 - step / steps) / steps
        return x

    def _velocity(self, prefix: Tensor, state: Tensor, actions: Tensor, time: float) -> Tensor:
        c, width, condition = self.config, self.config.expert.width, None
        half = torch.arange(width // 2, dtype=torch.float64) / (width // 2 - 1)
        angle = 2 * math.pi * torch.tensor(time).double() / (4e-3 * 1000**half)
        clock = torch.cat([angle.sin(), angle.cos()])[None].to(actions.dtype)
        suffix = self.action_in_proj(actions)
        if c.pi05:
            condition = nn.functional.silu(self.time_out(nn.functional.silu(self.time_in(clock))))
        else:
            mixed = torch.cat([suffix, clock[:, None].expand(-1, c.chunk, -1)], -1)
            suffix = self.time_out(nn.functional.silu(self.time_in(mixed)))
            suffix = torch.cat([self.state_proj(state)[:, None], suffix], 1)
        blocks = [0] * prefix.shape[1] + [1] * (not c.pi05) + [2] * c.chunk
        last = self._joint(prefix, suffix, torch.tensor(blocks), condition)[:, -c.chunk :]
        normed = self.expert.norm(last, condition)[0] if c.pi05 else self.expert.norm(last)
        return self.action_out_proj(normed)

    def _joint(self, prefix: Tensor, suffix: Tensor, blocks: Tensor, condition: Tensor | None) -> Tensor:
        """The expert's stream after all layers."""
        streams, sizes = [prefix, suffix], [prefix.shape[1], suffix.shape[1]]
        cos, sin = self.language.rotary_emb(prefix, torch.arange(len(blocks))[None])
        for layers in zip(self.language.layers, self.expert.layers, strict=True):
            conditions = (None, condition)
            before = [_norm(m.input_layernorm, x, c) for m, x, c in zip(layers, streams, conditions, strict=True)]
            dim = self.config.prefix.head_dim
            q, k, v = (
                torch.cat(
                    [
                        getattr(m.self_attn, f"{part}_proj")(x).unflatten(-1, (-1, dim))
                        for m, (x, _) in zip(layers, before, strict=True)
                    ],
                    1,
                ).transpose(1, 2)
                for part in "qkv"
            )
            q, k = apply_rotary_pos_emb(q, k, cos, sin)
            mask = blocks[None, :] <= blocks[:, None]
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
            mixed = mixed.transpose(1, 2).flatten(2).split(sizes, 1)
            for i, layer in enumerate(layers):
                x = streams[i] + layer.self_attn.o_proj(mixed[i]) * before[i][1]
                h, gate = _norm(layer.post_attention_layernorm, x, conditions[i])
                streams[i] = x + layer.mlp(h) * gate
        return streams[1]


def _norm(norm: nn.Module, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | float]:
    return (norm(x), 1.0) if condition is None else norm(x, condition)
