"""One connection: its cache, and where its episodes begin.

Nothing of an episode may reach the next one, and openpi's protocol does not say where one begins. So, in this order, an
episode begins where the client says so; with a connection; with another prompt; and, unless the client marks its
episodes, in doubt: where the hand has moved further than it could since the last request (`jump`), or is where the
last episode surely began (`return`). What begins in doubt is computed, never reused; so all that such a guess can cost
is time. Of a policy whose state does not begin with a hand's position nothing is guessed: unless the client marks its
episodes, every request is computed (`unmarked`). What no such rule sees is a robot that drives slowly to another start
than the last: whoever does that has to mark its episodes.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from zlib import crc32

import numpy as np
from jaxtyping import Float32

from kvlab.reuse import Replan
from kvlab.serve.served import Served, prompt_of

FASTEST = 0.02  # m of a control step; LIBERO's hand makes 0.017 at most
HOME = 0.02  # m: a robot that returns to where it begins comes as near


@dataclass(frozen=True)
class Moment:
    """What a client asks an answer to. `begins`: whether an episode begins here, None if it does not say."""

    prompt: object
    frames: Mapping[str, object]  # by camera; as they were sent, like all here
    state: object
    begins: bool | None = None
    elapsed: int | None = None  # control steps executed since the last answer; None if it does not say
    seed: tuple[int, ...] | None = None  # of the episode's noise


@dataclass(frozen=True)
class Answer:
    """A chunk of actions in the environment's units, and how it came about."""

    actions: Float32[np.ndarray, "actions action"]
    replan: Replan
    began: str | None  # why an episode began here; None if none did
    number: int  # of the replan in its episode, from 0
    policy_ms: float  # of the policy's call
    ms: float  # from the request to the answer, waiting for other connections apart

    def told(self) -> dict[str, object]:
        """What a client is told besides the actions, as plain values; signals that were not computed are left out."""
        row = asdict(self.replan)
        said = {name: row.pop(name) for name in ("reused", "age", "executed", "denoised")}
        times = {name: row.pop(name) for name in [*row] if name.startswith("ms_")}
        for name in ("bits", "kept_tokens"):
            del row[name]
        signals = {name: value for name, value in row.items() if not math.isnan(value)}
        return {**said, "replan": self.number, "began": self.began, "signals": signals, **times}


class Session:
    """Answers one connection's requests, one after another."""

    def __init__(self, served: Served):
        self._served, self._policy = served, served.cached()
        self._prompt: str | None = None  # of the episode that goes on, None where the next request begins one
        self._hand = self._home = np.full(3, np.nan)
        self._number = 0
        budget = served.execute.count or served.policy.config.chunk
        self._reach = FASTEST * budget

    def answer(self, moment: Moment) -> Answer:
        """ValueError says what is wrong with the request; where the policy had begun with it, the next one begins an
        episode.
        """
        started = time.perf_counter()
        prompt, state = prompt_of(moment.prompt), self._served.state(moment.state)
        frames = self._served.frames(moment.frames)
        began = self._begins(moment, prompt, state)
        self._prompt = None  # until this went well
        if began:
            # Of the first observation, so that the noise is the same whatever was served before, and in every setting.
            seed = moment.seed or (crc32(prompt.encode()), crc32(state.tobytes()))
            self._policy.reset(prompt, seed)
            self._number = 0
            if began != "return":
                self._home = state[:3]
        ready = time.perf_counter()
        actions, replan = self._policy.act(frames, state, moment.elapsed)
        policy_ms = (time.perf_counter() - ready) * 1e3
        if not np.isfinite(actions).all():
            raise ValueError("the policy answered with actions that are not finite")
        self._prompt, self._hand, self._number = prompt, state[:3], self._number + 1
        return Answer(actions, replan, began, self._number - 1, policy_ms, (time.perf_counter() - started) * 1e3)

    def _begins(self, moment: Moment, prompt: str, state: np.ndarray) -> str | None:
        if moment.begins:
            return "asked"
        if self._prompt is None:
            return "first"
        if prompt != self._prompt:
            return "prompt"
        if moment.begins is not None:
            return None
        if not self._served.is_libero:
            return "unmarked"
        if math.dist(state[:3], self._hand) > self._reach:
            return "jump"
        return "return" if math.dist(state[:3], self._home) <= HOME else None
