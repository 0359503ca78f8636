"""How the episodes of a study are run: what is drawn, what the policy sees, how often it replans, where it computes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kvlab import numerics
from kvlab.pi0.checkpoint import file_digest
from kvlab.sim.published import EVALUATIONS, RENDER, SIZE, step_limit
from kvlab.sim.render import profile
from kvlab.sim.suites import tasks
from kvlab.study.clock import NO_DELAYS, Clock, Delays, parse_clock
from kvlab.study.settings import Setting

GL_KINDS = ("software", "hardware")
# Of a policy: float32 on the CPU, bfloat16 on a GPU, there by the engine, and by it with eight bits (e4m3) in part.
DEVICES = ("cpu", "cuda", "engine", "engine-fp8")


@dataclass(frozen=True)
class Protocol:
    """How every episode of a study is run. `gl` says who draws, since drivers differ in a few pixels.

    `evaluation` (of `kvlab.sim.published`) says what is observed and how long an episode may be; see `published`.
    `numerics` (of `kvlab.numerics`) says whether other machines come to the same bits; of a policy on a GPU only cards
    of one kind do, whatever it says, and its rows are recordings of their own.
    `entries` are those of a published `config.json` that are given from outside (`kvlab.pi0.load`), kept as JSON, and
    `tokenizer` is the file of one where the checkpoint's folder has none.
    With `real_time` the world does not wait for an inference (`kvlab.study.clock`); its text form will do.
    """

    suite: str = "libero_spatial"
    render: str = "fast"
    size: int = 128  # pixels along one side of a frame
    replan_every: int | None = 5  # actions executed of each chunk; None in a study: as many as the checkpoint says
    gl: str = "software"
    evaluation: str = "kvlab"
    device: str = "cpu"  # of the policy, one of DEVICES
    numerics: str = "portable"
    entries: str | Mapping[str, object] = ""
    tokenizer: str | Path = ""
    real_time: Clock | str | None = None

    @classmethod
    def published(cls, evaluation: str, replan_every: int | None = None, **others) -> "Protocol":
        """LIBERO as checkpoints of `openpi` or `lerobot` expect it: stock frames of 256 pixels, replans as they say."""
        return cls(render=RENDER, size=SIZE, evaluation=evaluation, replan_every=replan_every, **others)

    @classmethod
    def of(cls, evaluation: str, **others) -> "Protocol":
        """That of kvlab's own checkpoints, or `published` where `evaluation` is another's."""
        return cls(**others) if evaluation == "kvlab" else cls.published(evaluation, **others)

    def __post_init__(self) -> None:
        tasks(self.suite)
        profile(self.render)
        numerics.check(self.numerics)
        if isinstance(self.real_time, str):
            object.__setattr__(self, "real_time", parse_clock(self.real_time))
        if not isinstance(self.entries, str):
            text = json.dumps(dict(self.entries), sort_keys=True) if self.entries else ""
            object.__setattr__(self, "entries", text)
        if self.tokenizer:  # as a worker in another folder finds it
            object.__setattr__(self, "tokenizer", str(Path(self.tokenizer).expanduser().resolve()))
        if (self.replan_every is not None and self.replan_every < 1) or self.size < 1:
            raise ValueError(f"replan_every and size must be above 0, got {self.replan_every} and {self.size}")
        if self.gl not in GL_KINDS:
            raise ValueError(f"gl must be one of {', '.join(GL_KINDS)}, got {self.gl!r}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {self.device!r}")
        if self.evaluation not in EVALUATIONS:
            raise ValueError(f"evaluation must be one of {', '.join(EVALUATIONS)}, got {self.evaluation!r}")
        if self.evaluation != "kvlab" and (self.render, self.size) != (RENDER, SIZE):
            raise ValueError(
                f"the evaluation {self.evaluation} draws {RENDER} frames of {SIZE} pixels, not {self.render} ones of "
                f"{self.size}: write Protocol.published({self.evaluation!r})"
            )

    def delays(self, setting: Setting) -> Delays:
        """How many control steps the world goes on during a replan of this setting."""
        return self.real_time.delays(setting) if self.real_time else NO_DELAYS

    def key(self, setting: Setting) -> dict[str, object]:
        """What of it determines rows of a setting.

        Fields that came later are left out at their defaults: older rows lack them. Of real time only the delays count,
        and none where they are 0: such a world is one that waits.
        """
        later = {"evaluation": "kvlab", "device": "cpu", "numerics": "portable", "entries": "", "tokenizer": ""}
        limit = {"step_limit": step_limit(self.suite, self.evaluation)}
        fields = {k: v for k, v in asdict(self).items() if k != "real_time" and later.get(k) != v}
        if self.tokenizer:
            fields["tokenizer"] = file_digest(Path(self.tokenizer))
        return fields | limit | ({"delays": asdict(delays)} if (delays := self.delays(setting)) else {})
