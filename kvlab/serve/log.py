"""What a server answered: one line of JSON for each replan, with the columns of `kvlab run`'s replans."""

import json
import math
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from kvlab.serve.session import Answer


class Log:
    """A file in `folder` for each start of a server, complete at any moment; `pandas.read_json(path, lines=True)`.

    Beside those columns: `connection` and `began` (why an episode begins with this replan, null where none does) in
    place of the episode's identity, the `prompt`, and the times of each stage. NaN is null.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}_{os.getpid()}.jsonl"
        self._file = self.path.open("a", buffering=1)  # each line at once

    def add(self, connection: int, prompt: str, answer: Answer) -> None:
        who = {"recorded": datetime.now(UTC).isoformat(timespec="milliseconds"), "connection": connection}
        row = who | {"prompt": prompt, "began": answer.began, "replan": answer.number} | asdict(answer.replan)
        known = {name: None if isinstance(x, float) and math.isnan(x) else x for name, x in row.items()}
        self._file.write(json.dumps(known) + "\n")

    def close(self) -> None:
        self._file.close()
