"""Settings: what is compared, written as text, `full when vision >= 0.985 seeing black`."""

import re
from dataclasses import dataclass

from kvlab.reuse import parse_gate, parse_mode
from kvlab.study.seeing import parse_seeing


@dataclass(frozen=True)
class Setting:
    """What is compared: a mode, a gate and what the policy is shown. `parse_setting` reads its text form."""

    mode: str
    gate: str = "always"
    seeing: str = "live"

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeing", parse_seeing(self.seeing))
        object.__setattr__(self, "mode", str(parse_mode(self.mode)))
        # The control never reuses, whatever a gate says: one way to write it, so that it is recorded once.
        object.__setattr__(self, "gate", "never" if self.mode == "none" else str(parse_gate(self.gate)))

    def __str__(self) -> str:
        text = self.mode if self.mode == "none" else f"{self.mode} when {self.gate}"
        return text if self.seeing == "live" else f"{text} seeing {self.seeing}"


def parse_setting(text: str) -> Setting:
    """`none`, `full when vision >= 0.985`, `none seeing late(vision, 2)`. Raises ValueError that says what is wrong."""
    match = re.fullmatch(r"\s*(.+?)(?:\s+when\s+(.+?))?(?:\s+seeing\s+(.+?))?\s*", text or "")
    if not match:
        raise ValueError(
            f"cannot read the setting {text!r}: write `none`, or a mode and a gate, `full when vision >= 0.98`"
        )
    mode, gate, seeing = match.groups()
    if gate is None and parse_mode(mode).name != "none":
        raise ValueError(f"the setting {text!r} has no gate: write for example `{mode} when vision >= 0.98`")
    return Setting(mode, gate or "never", seeing or "live")
