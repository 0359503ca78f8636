"""Recorded rows: their schema, and the files that hold them.

A cell is one setting on one task; its file is named by a hash of all that determines its rows, and holds one row per
episode with the rows of its replans inside, so that both are written in one move.
"""

import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet

EPISODE = ["suite", "task", "initial_state", "seed"]  # what identifies an episode; every setting sees the same ones
SETTING = ["mode", "gate", "seeing"]

EPISODES = pa.DataFrameSchema(
    {
        "suite": pa.Column(str),
        "task": pa.Column(int, pa.Check.ge(0)),
        "initial_state": pa.Column(int, pa.Check.in_range(0, 49)),
        "seed": pa.Column(int, pa.Check.ge(0)),
        "mode": pa.Column(str),
        "gate": pa.Column(str),
        "seeing": pa.Column(str),
        "success": pa.Column("boolean", nullable=True),  # missing where the simulator failed
        "steps": pa.Column(int, pa.Check.ge(0)),
        "replans": pa.Column(int, pa.Check.ge(0)),
        "reused": pa.Column(int, pa.Check.ge(0)),
        "error": pa.Column(str, nullable=True),
        "wall_s": pa.Column(float, pa.Check.ge(0)),
        "order": pa.Column(int, pa.Check.ge(0)),  # place among the settings of its trial
        "recorded": pa.Column(str),  # UTC
        "machine": pa.Column(str),
    },
    checks=[
        pa.Check(lambda t: t["reused"] < t["replans"].clip(lower=1), error="the first replan cannot reuse"),
        pa.Check(lambda t: t["success"].isna() == t["error"].notna(), error="an error is not an outcome"),
        pa.Check(lambda t: ~t.duplicated(EPISODE + SETTING), error="an episode is recorded twice in one setting"),
    ],
    strict=True,
)
# Hardly a measured number occurs twice, and a cell is always read whole: dictionaries and statistics only take room.
_COMPACT = {"compression": "zstd", "compression_level": 9, "use_dictionary": False, "write_statistics": False}
_cosine = pa.Column(float, pa.Check.in_range(-1, 1), nullable=True)
_ms = pa.Column(float, pa.Check.ge(0))
REPLANS = pa.DataFrameSchema(
    {
        **{name: EPISODES.columns[name] for name in EPISODE + SETTING},
        "replan": pa.Column(int, pa.Check.ge(0)),
        "step": pa.Column(int, pa.Check.ge(0)),
        "reused": pa.Column(bool),
        "age": pa.Column(int, pa.Check.ge(0)),
        **{f"{s}_{r}": _cosine for s in ("vision", "pixels", "state") for r in ("anchor", "previous")},
        **dict.fromkeys(("gripper", "curvature", "spread"), pa.Column(float, pa.Check.ge(0), nullable=True)),
        **{f"ms_{stage}": _ms for stage in ("gate", "vision", "prefill", "denoise", "total")},
        "action_norm": pa.Column(float, pa.Check.ge(0)),
        "first_action": pa.Column(object),
    },
    checks=[pa.Check(lambda t: t["reused"] == (t["age"] > 0), error="a reused cache is at least one replan old")],
    strict=True,
)


@dataclass(frozen=True)
class Records:
    """Validated rows: one per episode, and one per replan."""

    episodes: pd.DataFrame
    replans: pd.DataFrame


@dataclass(frozen=True)
class Cell:
    """One setting on one task and where its rows are. `key` is all that determines them, the episode apart."""

    folder: Path
    key: dict
    hub: str | None = None  # `owner/name@commit` of a checkpoint from the Hub, written down beside the key

    @property
    def path(self) -> Path:
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:16]
        mode = re.match(r"\w+", self.key["mode"])[0]  # without brackets and colons
        return self.folder / f"task{self.key['task']:02d}_{mode}_{digest}.parquet"

    def read(self) -> list[dict]:
        """The recorded rows, each with its replans in `replan_rows`.

        Raises ValueError where the file is damaged or holds the rows of another cell or of another version's columns.
        """
        if not self.path.exists():
            return []
        try:
            table = parquet.read_table(self.path)
            key = json.loads(table.schema.metadata[b"kvlab"])
        except (OSError, arrow.ArrowException, KeyError, TypeError, ValueError) as error:
            if getattr(error, "errno", None) is not None:  # the system's refusal says nothing of what is in the file
                raise
            raise ValueError(f"{self.path} is damaged; delete it and its episodes run again ({error})") from error
        if key != self.key:
            raise ValueError(f"{self.path} holds rows of other inputs than its name says; delete it to run them again")
        if not table.schema.equals(_SCHEMA):
            raise ValueError(f"{self.path} has other columns than this version of kvlab; delete it to run them again")
        return table.to_pylist()

    def add(self, rows: list[dict]) -> None:
        """Add rows, in the place of earlier ones of the same episode; written aside and moved.

        Raises ValueError where they break the schema; the file is then as it was.
        """
        collect(rows)
        with alone(self.folder):
            new = {tuple(row[c] for c in EPISODE): row for row in [*self.read(), *rows]}
            table = arrow.Table.from_pylist([new[k] for k in sorted(new)], schema=_SCHEMA)
            told = {"kvlab": json.dumps(self.key, sort_keys=True)} | ({"hub": self.hub} if self.hub else {})
            table = table.replace_schema_metadata(told)
            aside = self.path.with_suffix(".part")
            parquet.write_table(table, aside, **_COMPACT)
            os.replace(aside, self.path)


@contextmanager
def alone(folder: Path, waiting: str = "") -> Iterator[None]:
    """Whoever else on this machine asks for `folder` waits, and is told `waiting` if there is something to tell.

    So none writes back what it read before another's row. The folder is made if there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, waiting)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, waiting: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waiting:
            print(f"\r{waiting}", file=sys.stderr, flush=True)  # a line of progress, which no notebook keeps
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def collect(rows: list[dict]) -> Records:
    """Validated records out of cells' rows. Raises ValueError where there are none or where they break the schema."""
    if not rows:
        raise ValueError("nothing is recorded for this study yet; run it first")
    episodes = pd.DataFrame([{c: row[c] for c in EPISODES.columns} for row in rows])
    episodes = episodes.astype({"success": "boolean", "error": "object"})
    found = [{c: row[c] for c in EPISODE + SETTING} | replan for row in rows for replan in row["replan_rows"]]
    replans = pd.DataFrame(found, columns=list(REPLANS.columns))
    if not found:  # every episode failed: there are no values to tell the types by
        replans = pa.DataFrameSchema(REPLANS.columns, coerce=True).validate(replans)
    return Records(_checked(EPISODES, episodes, "episodes"), _checked(REPLANS, replans, "replans"))


def all_episodes(folder: Path) -> pd.DataFrame:
    """Every recorded episode below `folder`, whatever its study, without its replans; validated.

    Raises ValueError where nothing is recorded there, or where rows break the schema.
    """
    if not (files := sorted(folder.rglob("*.parquet"))):
        raise ValueError(f"nothing is recorded in {folder}; `kvlab run --help` says how to record")
    table = dataset.dataset(files, format="parquet").to_table(columns=list(EPISODES.columns))
    return _checked(EPISODES, table.to_pandas().astype({"success": "boolean", "error": "object"}), "episodes")


def _checked(schema: pa.DataFrameSchema, table: pd.DataFrame, what: str) -> pd.DataFrame:
    try:
        return schema.validate(table)
    except pa.errors.SchemaError as error:  # which lists every value that is wrong
        raise ValueError(f"the recorded {what} break their schema: {shorten(str(error), 300)}") from error


def _arrow_type(column: pa.Column) -> arrow.DataType:
    kinds = {"int64": arrow.int64(), "float64": arrow.float64(), "bool": arrow.bool_(), "boolean": arrow.bool_()}
    return kinds.get(str(column.dtype), arrow.string())


_REPLAN_FIELDS = [
    (name, arrow.list_(arrow.float64()) if name == "first_action" else _arrow_type(column))
    for name, column in REPLANS.columns.items()
    if name not in EPISODE + SETTING
]
_SCHEMA = arrow.schema(
    [(name, _arrow_type(column)) for name, column in EPISODES.columns.items()]
    + [("replan_rows", arrow.list_(arrow.struct(_REPLAN_FIELDS)))]
)
