"""Settings: what is compared, written as text, `prefix when vision >= 0.985 seeing black steps=2 execute=10`."""

import re
from dataclasses import dataclass, replace

from kvlab.pi0 import Policy
from kvlab.reuse import CachedPolicy, parse_execution, parse_gate, parse_mode
from kvlab.study.seeing import parse_seeing


@dataclass(frozen=True)
class Setting:
    """What is compared: a mode, a gate, what the policy is shown, how finely it denoises, how much it executes.

    `execute` are the actions executed of each chunk, in the text form of `kvlab.reuse.execution`. None
    is the default, which is not written: the steps of the checkpoint and the `replan_every` of the protocol.
    `parse_setting` reads the text form.
    """

    mode: str
    gate: str = "always"
    seeing: str = "live"
    denoising_steps: int | None = None
    execute: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeing", parse_seeing(self.seeing))
        object.__setattr__(self, "mode", str(parse_mode(self.mode)))
        # The control never reuses, whatever a gate says: one way to write it, so that it is recorded once.
        object.__setattr__(self, "gate", "never" if self.mode == "none" else str(parse_gate(self.gate)))
        if self.execute is not None:
            object.__setattr__(self, "execute", str(parse_execution(self.execute)))

    def __str__(self) -> str:
        text = self.mode if self.mode == "none" else f"{self.mode} when {self.gate}"
        said = {"seeing ": self.seeing, "steps=": self.denoising_steps, "execute=": self.execute}
        return " ".join([text, *(f"{word}{value}" for word, value in said.items() if value not in ("live", None))])

    def without_defaults(self, steps: int, execute: int) -> "Setting":
        """As it is written for a checkpoint that takes `steps` and a protocol that executes `execute` by default."""
        return replace(
            self,
            denoising_steps=None if self.denoising_steps == steps else self.denoising_steps,
            execute=None if self.execute == str(execute) else self.execute,
        )

    def on(self, policy: Policy, execute: int | None = None, **options) -> CachedPolicy:
        """The policy in this setting; `options` are those of `CachedPolicy`.

        Where the setting does not say how much to execute, `execute` does, and without that it is the whole chunk.
        Raises ValueError where the policy cannot do what the setting says.
        """
        execute = self.execute or execute
        return CachedPolicy(
            policy,
            parse_mode(self.mode),
            parse_gate(self.gate),
            steps=self.denoising_steps,
            execute=execute and parse_execution(execute),
            **options,
        )


def parse_setting(text: str) -> Setting:
    """`none`, `full when vision >= 0.985`, `none seeing late(vision, 2)`, `prefix when every(2) steps=2 execute=10`.

    Raises ValueError that says what is wrong.
    """
    pattern = r"\s*(.+?)(?:\s+when\s+(.+?))?(?:\s+seeing\s+(.+?))?(?:\s+steps=(.+?))?(?:\s+execute=(.+?))?\s*"
    match = re.fullmatch(pattern, text or "")
    if not match:
        raise ValueError(
            f"cannot read the setting {text!r}: write `none`, or a mode and a gate, `full when vision >= 0.98`"
        )
    mode, gate, seeing, steps, execute = match.groups()
    if gate is None and parse_mode(mode).name != "none":
        raise ValueError(f"the setting {text!r} has no gate: write for example `{mode} when vision >= 0.98`")
    if steps is not None and not re.fullmatch(r"\d+", steps):
        raise ValueError(f"cannot read steps={steps} in {text!r}: denoising steps are a whole number from 1 on")
    return Setting(mode, gate or "never", seeing or "live", None if steps is None else int(steps), execute)
