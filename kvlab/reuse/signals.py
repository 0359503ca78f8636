"""Similarity signals between two moments: what a gate may look at."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

THUMBNAIL = 16  # pixels along one side


def cosine(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> float:
    """Cosine of the angle between two tensors, flattened and taken in float64; in [-1, 1]."""
    return F.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0).clamp(-1, 1).item()


def thumbnails(images: Float[Tensor, "cameras 3 size size"]) -> Float[Tensor, "cameras 3 small small"]:
    """Frames in [-1, 1] averaged down to 16 x 16: cheap enough to compare at every replan."""
    return F.adaptive_avg_pool2d(images, THUMBNAIL)


def similarities(
    now: dict[str, Tensor], anchor: dict[str, Tensor] | None, previous: dict[str, Tensor] | None
) -> dict[str, float]:
    """Cosines of every signal in `now` with the same one at the anchor and at the previous replan; NaN without one."""
    references = {"anchor": anchor, "previous": previous}
    return {
        f"{name}_{reference}": cosine(value, then[name]) if then and name in then else float("nan")
        for name, value in now.items()
        for reference, then in references.items()
    }
