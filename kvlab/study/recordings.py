"""The files that hold recorded rows: complete at any moment, named by all that determines their rows.

A recording is one setting on one suite, a Parquet file. While a study runs, each finished episode is a file of its own,
moved into place in a folder beside that of its recording, and `fold` puts it in. Whoever reads sees both.
"""

import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from kvlab.study.records import CONSTANTS, EPISODES, PREVIOUS, STORED, anchor_of, checked_episodes, collect
from kvlab.study.settings import Setting

IDENTITY = ["task", "initial_state", "seed"]  # of an episode within its recording
MOST_WAITING = 25  # episodes, in files of their own, each of which takes a millisecond to read
# Times differ from run to run: `kvlab bench` measures them. Of tokens, which are kept follows from the setting.
UNRECORDED = ("ms_", "kept_tokens")
_INSIDE = "replan_rows.list.element"
_REPLAN = STORED.field("replan_rows").type.value_type
# Measured numbers hardly repeat; what is alike in them is sign and exponent, so bytes of the same place stand together.
_SPLIT = [f"{_INSIDE}.{field.name}" for field in _REPLAN if field.type == arrow.float32()]
_FORMAT = {
    "compression": "zstd",
    "use_dictionary": [
        *(name for name in (*CONSTANTS.names, *STORED.names) if name != "replan_rows"),
        *(f"{_INSIDE}.{name}" for name in ("replan", "step", "age", "delay", "executed", "denoised")),
    ],
    "use_byte_stream_split": _SPLIT,
    "write_statistics": False,
    "write_page_checksum": True,
}


@dataclass(frozen=True)
class Recording:
    """One setting on one suite and where its rows are. `key` is all that determines them, the episode apart."""

    folder: Path
    key: dict
    hub: str | None = None  # `owner/name@commit` of a checkpoint from the Hub, written down beside the key

    @cached_property
    def path(self) -> Path:
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:16]
        mode = re.match(r"\w+", self.key["setting"]["mode"])[0]  # without brackets and colons
        return self.folder / self.key["suite"] / f"{mode}_{digest}.parquet"

    @property
    def waiting(self) -> Path:
        """Where finished episodes wait to be put into the file, one file each."""
        return self.path.with_suffix("")

    @classmethod
    def of(cls, path: Path) -> "Recording":
        """That which a file belongs to. ValueError where it is damaged, none of kvlab's, or not where it should be."""
        with _opened(path) as file:
            key, hub = _key(file, path), file.schema_arrow.metadata.get(b"hub")
        for folder in path.parents[1:3]:
            one = cls(folder, key, hub and hub.decode())
            if path in (one.path, one.waiting / path.name):
                return one
        raise ValueError(f"{path} holds rows of other inputs than its name says; {_REMEDY}")

    def read(self, columns: Sequence[str] = STORED.names) -> arrow.Table:
        """The recorded rows, those that wait included, by task, initial state and seed.

        Raises ValueError where a file is damaged, holds the rows of another recording or other columns than this
        version's.
        """
        columns = [name for name in STORED.names if name in columns or name in IDENTITY]
        # First those that wait: what is put into the file meanwhile is then found there.
        parts = [table for path in sorted(self.waiting.glob("*.parquet")) for table in self._read(path, columns)]
        parts = [*self._read(self.path, columns), *parts]
        if not parts:
            return STORED.empty_table().select(columns)
        rows = arrow.concat_tables(parts)
        if len(parts) == 1:
            return rows
        last = {episode: n for n, episode in enumerate(zip(*(rows[c].to_pylist() for c in IDENTITY), strict=True))}
        return rows.take([last[episode] for episode in sorted(last)])

    def _read(self, path: Path, columns: Sequence[str]) -> Iterator[arrow.Table]:
        try:
            with _opened(path) as file:
                if _key(file, path) != self.key:
                    raise ValueError(f"{path} holds rows of other inputs than its name says; {_REMEDY}")
                if not arrow.schema(f for f in file.schema_arrow if f.name not in CONSTANTS.names).equals(STORED):
                    raise ValueError(f"{path} has other columns than this version of kvlab; {_REMEDY}")
                yield file.read(columns).replace_schema_metadata()
        except FileNotFoundError:  # not recorded, or put into the file this moment
            return

    def add(self, row: dict) -> None:
        """Record one finished episode, in the place of an earlier one; written aside and moved.

        Raises ValueError where it has other columns, OSError where it cannot be written; all else is then as it was.
        Values are checked by who reads and by `fold`, since that takes longer than to write.
        """
        name = "task{task:02d}_state{initial_state:02d}_seed{seed}.parquet".format_map(row)
        self._write(stored([row]), self.waiting / name, level=1)
        if len(os.listdir(self.waiting)) >= MOST_WAITING:
            self.fold()

    def fold(self) -> None:
        """Put what waits into the file. Cut off at any point, it loses nothing and goes on from there.

        Raises ValueError where rows break the schema; they then wait as before.
        """
        if parts := sorted(self.waiting.glob("*.parquet")):
            rows = self.read()
            collect(self.named(rows))
            self._write(rows, self.path, level=19)
            for path in parts:
                path.unlink()
        with suppress(FileNotFoundError):
            self.waiting.rmdir()

    def _write(self, rows: arrow.Table, path: Path, level: int) -> None:
        table = self.named(_without_repeats(rows))  # named for other readers; here the key says it
        told = {"kvlab": json.dumps(self.key, sort_keys=True)} | ({"hub": self.hub} if self.hub else {})
        table = table.replace_schema_metadata(told)
        aside = path.with_suffix(".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, aside, compression_level=level, **_FORMAT)
            os.replace(aside, path)
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            why = os.strerror(error.errno) if error.errno else error
            raise OSError(f"{path} cannot be written ({why}); what was recorded before is kept") from error

    def named(self, rows: arrow.Table) -> arrow.Table:
        """The rows with the columns that are the same for all of them: the suite and the setting."""
        said = {"suite": self.key["suite"]} | {
            field.name: getattr(Setting(**self.key["setting"]), field.name) for field in fields(Setting)
        }
        for field in CONSTANTS:
            rows = rows.append_column(field, arrow.repeat(arrow.scalar(said[field.name], field.type), len(rows)))
        return rows


_REMEDY = "delete it and its episodes run again"


@contextmanager
def _opened(path: Path) -> Iterator[parquet.ParquetFile]:
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, arrow.ArrowException) as error:
        if getattr(error, "errno", None) is not None:  # the system's refusal says nothing of what is in the file
            raise
        raise ValueError(f"{path} is damaged; {_REMEDY} ({error})") from error


def _key(file: parquet.ParquetFile, path: Path) -> dict:
    try:
        key = json.loads(file.schema_arrow.metadata[b"kvlab"])
        return key if {"suite", "setting"} <= key.keys() else {}["suite"]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is no recording of this version of kvlab; {_REMEDY}") from error


def _without_repeats(rows: arrow.Table) -> arrow.Table:
    """Rows in which `..._previous` is missing where it equals `..._anchor`, as where the replan before was computed."""
    lists = rows["replan_rows"].combine_chunks()
    inside = lists.values
    columns = dict(zip(inside.type.names, inside.flatten(), strict=True))
    for name in PREVIOUS:
        twice = compute.equal(columns[name], columns[anchor_of(name)])
        columns[name] = compute.if_else(twice, None, columns[name])
    inside = arrow.StructArray.from_arrays(list(columns.values()), fields=list(inside.type))
    lists = arrow.ListArray.from_arrays(lists.offsets, inside, type=lists.type)
    return rows.set_column(rows.column_names.index("replan_rows"), "replan_rows", lists)


def stored(rows: list[dict]) -> arrow.Table:
    """Finished episodes as files hold them. ValueError where one has what there is no column for."""
    replans = [
        [{name: value for name, value in one.items() if not name.startswith(UNRECORDED)} for one in row["replan_rows"]]
        for row in rows
    ]
    known = {*_REPLAN.names, *STORED.names}
    if unknown := {*chain(*rows, *chain(*replans))} - known:
        raise ValueError(f"an episode has {', '.join(sorted(unknown))}, for which the record has no column")
    complete = [row | {"replan_rows": inside} for row, inside in zip(rows, replans, strict=True)]
    return arrow.Table.from_pylist(complete, STORED)


def below(folder: Path) -> list[Recording]:
    """Every recording with rows below `folder`. ValueError where a file there is none, or is damaged."""
    found = {}
    for path in sorted(folder.rglob("*.parquet")):
        if path.parent.with_suffix(".parquet") not in found:  # of those that wait for one file, one is enough
            one = Recording.of(path)
            found[one.path] = one
    return list(found.values())


def tidy(folder: Path) -> None:
    """Put all that waits below `folder` into its files, and clear away what a killed process was writing.

    Only for who is `alone` there.
    """
    for left in folder.rglob("*.part"):
        left.unlink()
    for one in below(folder):
        one.fold()


def all_episodes(folder: Path) -> pd.DataFrame:
    """Every recorded episode below `folder`, whatever its study, without its replans; validated.

    In the column `checkpoint` stands the digest of the policy's, empty where its recording says none; in `device` which
    of a protocol's ran it; in `delays`, for how many control steps the world goes on during a replan that is computed
    and one that reuses: "4, 0", "4, 0 hold" where the robot stands still, or empty where it waits. Raises ValueError
    where nothing is recorded there, or where rows break the schema.
    """
    if not (found := below(folder)):
        raise ValueError(f"nothing is recorded in {folder}; `kvlab run --help` says how to record")
    worlds: dict[tuple[str, str, str], list[arrow.Table]] = {}
    for one in found:
        told = one.key.get("checkpoint", ""), one.key.get("device", "cpu"), _delays(one)
        worlds.setdefault(told, []).append(one.named(one.read(EPISODES.columns)))
    checked = [
        checked_episodes(arrow.concat_tables(tables)).assign(checkpoint=checkpoint, device=device, delays=delays)
        for (checkpoint, device, delays), tables in worlds.items()
    ]
    return pd.concat(checked, ignore_index=True)


def _delays(recording: Recording) -> str:
    delays = recording.key.get("delays")
    return f"{delays['computed']}, {delays['reused']}{' hold' * delays['holds']}" if delays else ""


@contextmanager
def alone(folder: Path, waiting: str = "") -> Iterator[None]:
    """Whoever else on this machine asks for `folder` waits, and is told `waiting` if there is something to tell.

    So none records what another does. The folder is made if there is none. Raises PermissionError where nothing can be
    written there, before anything is run for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(f"nothing can be recorded in {folder}: it may not be written to")
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
