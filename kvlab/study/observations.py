"""What a policy without reuse saw in an episode: what is measured or explained is measured on that."""

from contextlib import closing
from dataclasses import dataclass, field

from tqdm import tqdm

from kvlab.pi0 import Policy
from kvlab.sim.env import LiberoEnv, Observation
from kvlab.sim.suites import Task, task
from kvlab.study.protocol import Protocol
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting


@dataclass(frozen=True)
class Episode:
    """What a policy saw at the replans of one episode."""

    instruction: str
    seen: list[Observation] = field(repr=False)


def scenes(policy: Policy, episodes: int) -> tuple[list[Task], str, int]:
    """The first tasks of what the policy was trained on, and its render profile and size of frames (pixels).

    Raises ValueError where the checkpoint does not say, or where the suite has fewer tasks.
    """
    trained_on = policy.trained_on
    if missing := {"suites", "render", "size"} - trained_on.keys():
        raise ValueError(f"the checkpoint does not say what it was trained on: it lacks {', '.join(sorted(missing))}")
    chosen = [task(trained_on["suites"][0], index) for index in range(episodes)]
    return chosen, trained_on["render"], int(trained_on["size"])


def record(policy: Policy, episodes: int) -> list[Episode]:
    """Roll out the policy without reuse on the first `episodes` tasks of its suite."""
    chosen, render, size = scenes(policy, episodes)
    recorded = []
    for one in tqdm(chosen, desc="recording", unit="episode"):
        control = Setting("none").on(policy, Protocol.replan_every)
        with closing(LiberoEnv(one, render, size)) as env:
            recorded.append(Episode(one.language, rollout(env, control, initial_state=0, seed=0)[2]))
    return recorded
