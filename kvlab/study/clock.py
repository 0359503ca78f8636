"""Real time: a world that does not wait for an inference.

An inference is started at a control step, with what is seen then, and its actions arrive some control steps of 50 ms
later. How many follows from recorded times alone, never from the clock of the machine that simulates: what a replan of
this setting takes on a stated machine, computed or reused (`kvlab.study.times`), as a share of a full inference without
reuse there; times what a full inference is said to take; rounded up to whole control steps.

Meanwhile the robot goes on in the chunk that it has, and where that is used up it stands still. Of the new chunk as
many actions are passed over as it went on in the old one, since these have moved it as far; then it executes as many as
the setting says, and the next inference starts. Where it `holds`, it stands still for the whole delay and begins each
chunk at its first action. At the first replan of an episode there is no chunk yet, so it stands still in both. To stand
still is no motion, with the gripper's last command.
"""

import math
import re
from dataclasses import dataclass
from functools import cache

from kvlab.study.settings import Setting
from kvlab.study.times import MACHINES, latency

CONTROL_MS = 50  # LIBERO controls at 20 Hz


@dataclass(frozen=True)
class Delays:
    """Control steps from a look to the actions that follow from it, by whether the replan reused; what happens then."""

    computed: int = 0
    reused: int = 0
    holds: bool = False

    def __bool__(self) -> bool:
        return max(self.computed, self.reused) > 0


NO_DELAYS = Delays()


@dataclass(frozen=True)
class Clock:
    """A full inference at 10 denoising steps takes `full_ms`; other replans their share of it on `machine`.

    `str` is the text form, `200ms`, `200ms h100 hold`.
    """

    full_ms: float
    machine: str = "cpu"  # of `times.MACHINES`: whose stages have what share of an inference
    holds: bool = False

    def __str__(self) -> str:
        words = (f"{self.full_ms:g}ms", self.machine if self.machine != "cpu" else "", "hold" if self.holds else "")
        return " ".join(word for word in words if word)

    def delays(self, setting: Setting) -> Delays:
        """The delays of a setting. ValueError: a mode or a gate of which there is no time."""
        return Delays(*(self._delay(setting, allowed) for allowed in (False, True)), self.holds)

    def ms(self, setting: Setting, allowed: bool) -> float:
        """Milliseconds of a replan whose gate allowed reuse, or refused it. ValueError as in `delays`."""
        times = _latency(self.machine)
        # To the hundredth: what is measured again hardly moves it, and a full inference is exactly one.
        share = round(times.replan_ms(setting, allowed) / times.replan_ms(Setting("none"), False), 2)
        return self.full_ms * share

    def _delay(self, setting: Setting, allowed: bool) -> int:
        return math.ceil(round(self.ms(setting, allowed) / CONTROL_MS, 6))

    def covered(self, setting: Setting, chunk: int) -> bool:
        """Whether the robot, where it is to go on, has actions left until any new chunk arrives."""
        return self.holds or self._longest(setting) < chunk

    def require_fits(self, setting: Setting, chunk: int) -> None:
        """ValueError where a delay is not `covered` by a chunk of so many actions."""
        if not self.covered(setting, chunk):
            raise ValueError(
                f"at {self} an inference of `{setting}` takes {self._longest(setting)} control steps, and no chunk of "
                f"{chunk} actions covers them: take a faster machine, fewer denoising steps, or `{self} hold`"
            )

    def _longest(self, setting: Setting) -> int:
        delays = self.delays(setting)
        return max(delays.computed, delays.reused)


_latency = cache(latency)


def parse_clock(text: str) -> Clock:
    """`200ms`, `200ms hold`, `200ms h100`. Raises ValueError that says what would be right."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?) ?(?:ms)?(?:\s+(\w+?))??(\s+hold)?\s*", text)
    if not match or (match[2] or "cpu") not in MACHINES:
        raise ValueError(
            f"cannot read the real time {text!r}: write how long a full inference takes, `200ms`, then whose stages it "
            f"has, {' or '.join(MACHINES)} (cpu unless said), then `hold` if the robot stands still meanwhile"
        )
    return Clock(float(match[1]), match[2] or "cpu", bool(match[3]))
