"""Structured pruning: a smaller model out of a trained one, to be finetuned (`kvlab train --start`).

Whole layers go from prefix and expert at once, since the two attend to each other layer by layer. Of an MLP the neurons
with the smallest weights go: the product of the lengths of what leads into a neuron and out of it (2305.11627, 3.2,
without gradients).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from kvlab.pi0.checkpoint import empty
from kvlab.pi0.int8 import is_int8
from kvlab.pi0.layers import GemmaLayer
from kvlab.pi0.policy import Policy


def prune(
    policy: Policy, layers: int | None = None, prefix_mlp: int | None = None, expert_mlp: int | None = None
) -> Policy:
    """A policy with so many layers, and MLPs of so many neurons; None leaves what is there.

    The first layer and the last stay, and of those between as many at even distances. ValueError where there would be
    more than there are, fewer than two layers, or nothing less, and where the policy computes in int8.
    """
    if is_int8(policy.model):
        raise ValueError("this policy is in int8: prune the checkpoint that it was made from, and quantize after that")
    config = policy.config
    layers, prefix_mlp, expert_mlp = (
        layers or config.prefix.depth,
        prefix_mlp or config.prefix.mlp_dim,
        expert_mlp or config.expert.mlp_dim,
    )
    wanted = {
        "layers": (layers, config.prefix.depth),
        "neurons of the prefix": (prefix_mlp, config.prefix.mlp_dim),
        "neurons of the expert": (expert_mlp, config.expert.mlp_dim),
    }
    if wrong := [f"{some} {what} of {there}" for what, (some, there) in wanted.items() if some > there]:
        raise ValueError(f"pruning only takes away, and {' and '.join(wrong)} were asked for")
    if layers < 2 or all(some == there for some, there in wanted.values()):
        raise ValueError(
            "name fewer layers (2 at least), or fewer neurons of the prefix or of the expert, than there are"
        )
    small = replace(
        config,
        prefix=replace(config.prefix, depth=layers, mlp_dim=prefix_mlp),
        expert=replace(config.expert, depth=layers, mlp_dim=expert_mlp),
    )
    kept = torch.linspace(0, config.prefix.depth - 1, layers).round().int().tolist()
    model = empty(small)
    weights = {
        name: value
        for name, value in policy.model.state_dict().items()
        if name.split(".")[0] not in ("prefix", "expert")
    }
    for stream, neurons in (("prefix", prefix_mlp), ("expert", expert_mlp)):
        for place, layer in enumerate(kept):
            mine = _narrowed(getattr(policy.model, stream)[layer], neurons)
            weights |= {f"{stream}.{place}.{name}": value for name, value in mine.items()}
    model.load_state_dict(weights, assign=True)
    return replace(
        policy,
        model=model,
        trained_on={**policy.trained_on, "pruned_to": {what: some for what, (some, _) in wanted.items()}},
    )


def _narrowed(layer: GemmaLayer, neurons: int) -> dict[str, Float[Tensor, "..."]]:
    """The layer's weights with so many of its neurons, those of the largest weights, in their order."""
    weights = dict(layer.state_dict())
    gate, up = weights["gate_up.weight"].chunk(2)
    size = gate.float().norm(dim=1) * up.float().norm(dim=1) * weights["down.weight"].float().norm(dim=0)
    best = size.topk(neurons).indices.sort().values
    return weights | {
        "gate_up.weight": torch.cat([gate[best], up[best]]),
        "down.weight": weights["down.weight"][:, best],
    }
