"""How many actions of a chunk are executed before the next replan: `10`."""

import re
from dataclasses import dataclass

GRAMMAR = "a whole number above 0"


@dataclass(frozen=True)
class Execution:
    """The first `count` actions of a chunk are executed."""

    count: int

    def __str__(self) -> str:
        return str(self.count)

    def require_fits(self, chunk: int) -> None:
        """ValueError where it takes more actions than a chunk has."""
        if self.count > chunk:
            raise ValueError(f"{self.count} actions are to be executed, but a chunk has {chunk} actions")


def parse_execution(text: str | int) -> Execution:
    """What `text` describes. Raises ValueError that says what would be right."""
    if isinstance(text, bool) or not re.fullmatch(r"\s*0*[1-9]\d*\s*", str(text)):
        raise ValueError(f"cannot read the number of executed actions {text!r}: it is {GRAMMAR}")
    return Execution(int(text))
