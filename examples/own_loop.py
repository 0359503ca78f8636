"""A gate in a loop of one's own: any gymnasium environment that shows what the checkpoint's cameras see, and a state.

An observation is a dictionary: `state`, the numbers that the policy was trained on, in their units; and for each of the
policy's cameras, under its name, a frame (height, width, 3) of bytes in RGB, of any size. Of an environment that only
draws itself, gymnasium makes such observations:

    env = gymnasium.make("Pusher-v5", render_mode="rgb_array", max_episode_steps=100)
    env = AddRenderObservation(env, render_only=False, render_key=CAMERA, obs_key="state")
"""

import gymnasium

from kvlab import CachedPolicy, Replan, load, parse_execution, parse_gate, parse_mode


def episode(
    env: gymnasium.Env, policy: CachedPolicy, instruction: str, seed: int = 0
) -> tuple[float, int, list[Replan]]:
    """The sum of rewards, the steps taken, and what was reused at each replan."""
    seen, _ = env.reset(seed=seed)
    policy.reset(instruction, [seed])  # forgets the last episode
    total, steps, done, replans = 0.0, 0, False, []
    while not done:
        images = {camera: seen[camera] for camera in policy.policy.config.cameras}
        actions, replan = policy.act(images, seen["state"])
        replans.append(replan)
        for action in actions[: replan.executed]:
            seen, reward, terminated, truncated, _ = env.step(action)
            total, steps, done = total + float(reward), steps + 1, terminated or truncated
            if done:
                break
    return total, steps, replans


def gated(checkpoint: str, mode: str = "prefix", gate: str = "vision >= 0.985", execute: int = 5) -> CachedPolicy:
    """A checkpoint (a folder, or `owner/name` on the Hub) that reuses `mode` when `gate` allows it."""
    execution = parse_execution(str(execute))
    return CachedPolicy(load(checkpoint), parse_mode(mode), parse_gate(gate), log_signals=False, execute=execution)
