"""Recorded rows: one per episode and one per replan, their schema, and what of it a file holds."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from textwrap import shorten
from types import NoneType
from typing import get_args, get_type_hints

import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
import pyarrow.compute as compute

from kvlab.reuse.gates import DISTANCES, SIMILARITIES
from kvlab.reuse.phase import PHASES
from kvlab.study.origin import Origin
from kvlab.study.settings import Setting

EPISODE = ["suite", "task", "initial_state", "seed"]  # what identifies an episode; every setting sees the same ones
SETTING = [field.name for field in fields(Setting)]
STATES = 50  # official initial states of a task
PREVIOUS = [name for name in SIMILARITIES if name.endswith("previous")]
ORIGIN = [field.name for field in fields(Origin)]

_KINDS = {str: str, int: "Int64", float: "Float64"}  # by what a setting's field is, or is where it is not None
_count = pa.Column(int, pa.Check.ge(0))
_WHO = {
    "suite": pa.Column(str),
    "task": _count,
    "initial_state": pa.Column(int, pa.Check.in_range(0, STATES - 1)),
    "seed": _count,
    **{
        name: pa.Column(_KINDS[(get_args(kind) or [kind])[0]], nullable=NoneType in get_args(kind))
        for name, kind in get_type_hints(Setting).items()
    },
}
EPISODES = pa.DataFrameSchema(
    {
        **_WHO,
        "success": pa.Column("boolean", nullable=True),  # missing where the simulator failed
        **dict.fromkeys(("steps", "replans", "reused"), _count),  # steps: control steps, where success those to it
        "error": pa.Column(str, nullable=True),
        "wall_s": pa.Column(float, pa.Check.ge(0)),
        "order": _count,  # place among the settings of its trial
        "recorded": pa.Column(str),  # UTC
        **dict.fromkeys(ORIGIN, pa.Column(str)),
    },
    checks=[
        pa.Check(lambda t: t["reused"] < t["replans"].clip(lower=1), error="the first replan cannot reuse"),
        pa.Check(lambda t: t["success"].isna() == t["error"].notna(), error="an error is not an outcome"),
        pa.Check(lambda t: ~t.duplicated(EPISODE + SETTING), error="an episode is recorded twice in one setting"),
    ],
    strict=True,
)
_cosine = pa.Column("float32", pa.Check.in_range(-1, 1), nullable=True)
_signal = pa.Column("float32", pa.Check.ge(0), nullable=True)
REPLANS = pa.DataFrameSchema(
    {
        **_WHO,
        "replan": _count,
        "step": _count,  # control step
        "reused": pa.Column(bool),
        "age": _count,
        **dict.fromkeys(SIMILARITIES, _cosine),
        **dict.fromkeys(PHASES, _signal),
        "bits": pa.Column("uint32"),  # CRC-32 of the chunk, by which a replan run again is told from this one
        # Missing where a study has no such thing.
        "delay": pa.Column("Int64", pa.Check.ge(0), nullable=True),  # control steps until the chunk was there
        "executed": pa.Column("Int64", pa.Check.ge(0), nullable=True),  # actions
        "denoised": pa.Column("Int64", pa.Check.ge(0), nullable=True),  # denoising steps
        **dict.fromkeys(DISTANCES, _signal),
    },
    checks=[pa.Check(lambda t: t["reused"] == (t["age"] > 0), error="a reused cache is at least one replan old")],
    strict=True,
)


@dataclass(frozen=True)
class Records:
    """Validated rows: one per episode, and one per replan."""

    episodes: pd.DataFrame
    replans: pd.DataFrame


def collect(rows: arrow.Table) -> Records:
    """Validated records out of the rows of recordings. Raises ValueError where they break the schema."""
    rows = rows.combine_chunks()
    lists = rows["replan_rows"].combine_chunks()
    who = rows.select(list(_WHO)).take(compute.list_parent_indices(lists))
    inside = lists.flatten()
    columns = dict(zip(inside.type.names, inside.flatten(), strict=True))
    for name in PREVIOUS:
        columns[name] = compute.coalesce(columns[name], columns[anchor_of(name)])
    replans = arrow.Table.from_pydict({**dict(zip(who.column_names, who.columns, strict=True)), **columns})
    return Records(checked_episodes(rows), _checked(REPLANS, replans.to_pandas(), "replans"))


def checked_episodes(rows: arrow.Table) -> pd.DataFrame:
    """The validated episodes among rows, which may lack the replans. Raises ValueError as `collect` does."""
    return _checked(EPISODES, rows.select(list(EPISODES.columns)).to_pandas(), "episodes")


def _checked(schema: pa.DataFrameSchema, table: pd.DataFrame, what: str) -> pd.DataFrame:
    types = {name: str(column.dtype) for name, column in schema.columns.items() if column.nullable}
    table = table.astype({name: "str" if kind == "string[pyarrow]" else kind for name, kind in types.items()})
    try:
        return schema.validate(table[list(schema.columns)])
    except pa.errors.SchemaError as error:  # which lists every value that is wrong
        raise ValueError(f"the recorded {what} break their schema: {shorten(str(error), 300)}") from error


def anchor_of(previous: str) -> str:
    """The similarity to the last computed replan that goes with one to the replan before."""
    return previous.replace("previous", "anchor")


_ARROW = {"int64": arrow.int64(), "Int64": arrow.int64(), "uint32": arrow.uint32()}
_ARROW |= {"float32": arrow.float32(), "float64": arrow.float64(), "Float64": arrow.float64()}
_ARROW |= {"bool": arrow.bool_(), "boolean": arrow.bool_(), "string[pyarrow]": arrow.string()}


def _fields(schema: pa.DataFrameSchema, names: Iterable[str]) -> list[arrow.Field]:
    return [arrow.field(name, _ARROW[str(schema.columns[name].dtype)]) for name in names]


CONSTANTS = arrow.schema(_fields(EPISODES, ["suite", *SETTING]))  # the same for all rows of a recording
_replans = arrow.struct(_fields(REPLANS, [name for name in REPLANS.columns if name not in _WHO]))
STORED = arrow.schema(
    [
        *_fields(EPISODES, [name for name in EPISODES.columns if name not in CONSTANTS.names]),
        ("replan_rows", arrow.list_(_replans)),
    ]
)
