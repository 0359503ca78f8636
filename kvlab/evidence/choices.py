"""What gates and rules of single tokens choose by, on recorded observations, and how far off the answers are.

python -m kvlab.evidence.choices     measures on episodes without reuse and writes data/mechanism/{signals,tokens}.csv
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.stats import gmean, spearmanr
from torch import Tensor
from tqdm import tqdm

from kvlab.evidence.mechanism import divergence
from kvlab.paths import DATA
from kvlab.pi0 import Policy, load
from kvlab.reuse import CachedPolicy, Replan, parse_gate, parse_mode
from kvlab.reuse.signals import cosine, thumbnails
from kvlab.sim.env import Observation
from kvlab.study.facts import machine, write
from kvlab.study.observations import Episode, record

RULES = ("", "(random)", "(raster)", "(static)", "(inverse)")
TOKENS = (*(f"tokens{rule}:skip" for rule in RULES), *(f"tokens{rule}[0:]:skip" for rule in RULES[:2]))


def signals(policy: Policy, episodes: Sequence[Episode], modes: Sequence[str] = ("full", "prefix")) -> pd.DataFrame:
    """How well each look at the images tells how far off the answer from a cache is that is one replan old.

    One row per mode, look (image tokens, whole frames, thumbnails), camera (or both) and episode: `rank`, Spearman's
    correlation over its replans of how unlike the images of the replan before are (cosine) with the distance of the
    answers (`mechanism.divergence`, last denoising step), in [-1, 1].
    """
    far = divergence(policy, episodes, modes, ages=(1,)).query(
        f"group == 'all' and step == {policy.config.denoising_steps}"
    )
    rows = []
    for number, episode in enumerate(episodes):
        alike = pd.DataFrame([_alike(policy, *pair) for pair in zip(episode.seen, episode.seen[1:], strict=False)])
        for mode in modes:
            mine = far[(far["mode"] == mode) & (far["episode"] == number)].sort_values("replan")["distance"].to_numpy()
            for look, camera in alike:
                rank = spearmanr(-alike[look, camera], mine).statistic
                rows.append({"mode": mode, "look": look, "camera": camera, "episode": number, "rank": rank})
    return pd.DataFrame(rows)


@torch.no_grad()
def _alike(policy: Policy, then: Observation, now: Observation) -> dict[tuple[str, str], float]:
    """Cosines of two moments' images, by look and camera."""
    old, new = (policy.images(one.images) for one in (then, now))
    looks = {"image tokens": policy.model.embed_images, "frames": lambda images: images, "thumbnails": thumbnails}
    parts = {"both": slice(None)} | {name: i for i, name in enumerate(policy.config.cameras)}
    found = {}
    for look, of in looks.items():
        a, b = of(old), of(new)
        found |= {(look, camera): cosine(a[part], b[part]) for camera, part in parts.items()}
    return found


def token_choices(policy: Policy, episodes: Sequence[Episode], modes: Sequence[str] = TOKENS) -> pd.DataFrame:
    """How far the answers of modes that keep single image tokens at every replan are from those without reuse.

    One row per mode and episode, over its replans from the second on: `kept`, the mean share of the image tokens;
    `distance`, the geometric mean of the root mean square over the chunk, normalised units, same noise.
    """
    rows = []
    for number, episode in enumerate(tqdm(episodes, desc="tokens", unit="episode")):
        fresh, _ = _answers(policy, "none", episode)
        tokens = policy.model.embed_images(policy.images(episode.seen[0].images)).shape[:2].numel()
        for mode in modes:
            chunks, replans = _answers(policy, mode, episode)
            apart = (chunks - fresh)[1:].square().mean(dim=(1, 2)).sqrt()
            kept = np.mean([replan.kept_tokens for replan in replans[1:]]) / tokens
            rows.append({"mode": mode, "episode": number, "kept": kept, "distance": gmean(apart.numpy())})
    return pd.DataFrame(rows)


def _answers(policy: Policy, mode: str, episode: Episode) -> tuple[Float[Tensor, "replans chunk action"], list[Replan]]:
    """The chunk (normalised) at every replan, always reusing what the mode says, and the records."""
    chunks, last = [], {}
    cached = CachedPolicy(
        policy, parse_mode(mode), parse_gate("always"), log_signals=False, watch=lambda _, x: last.update(chunk=x[0])
    )
    cached.reset(episode.instruction, seed=(0,))
    replans = []
    for seen in episode.seen:
        replans.append(cached.act(seen.images, seen.state)[1])
        chunks.append(last["chunk"][:, : policy.action_dim].double())
    return torch.stack(chunks), replans


def main(checkpoint: Path = DATA / "checkpoints" / "mini_spatial", episodes: int = 10) -> None:
    """Measure on the first episode of each task and write the tables with how they were made."""
    policy = load(checkpoint)
    facts, recorded = {"command": "python -m kvlab.evidence.choices", **machine(checkpoint)}, record(policy, episodes)
    write(DATA / "mechanism", "signals", signals(policy, recorded), facts)
    write(DATA / "mechanism", "tokens", token_choices(policy, recorded), facts)


if __name__ == "__main__":
    main()
