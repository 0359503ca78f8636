"""The February report's tables as data, checked when loaded, and what the book computes from them.

`data/reported/README.md` says where the tables come from and what the columns mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
from jaxtyping import Float
from pandera.errors import SchemaErrors

from kvlab.evidence.stats import holm, pilot_hypergeometric, pilot_predictive, probability_better, unpaired_p
from kvlab.paths import DATA

REPORTED = DATA / "reported"
MODES = ("none", "full", "vision_only", "state_only", "layer_wise", "text_fixed")
# Column with what is printed -> column with its number.
NUMBERS = {
    "threshold_printed": "threshold",
    "success_printed": "success",
    "latency_printed": "latency_ms",
    "hz_printed": "hz",
    "reuse_printed": "reuse_rate",
    "speedup_printed": "speedup",
}
_CELL = re.compile(r"~?(?P<number>\d+(\.(?P<decimals>\d+))?)(?P<unit>%|ms|x|)( \(.*\))?")
_CELL_OR_BLANK = r"^\**(-?|~?\d+(\.\d+)?(%|ms|x|)( \(.*\))?)\**$"


def _column(kind: object, *checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(kind, list(checks), nullable=nullable, coerce=kind is not str)


_SHARE, _POSITIVE = pa.Check.in_range(0, 1), pa.Check.greater_than(0)
_TEXT = _column(str, pa.Check.str_length(min_value=1))
_SCHEMAS = {
    "results": pa.DataFrameSchema(
        {
            "table": _column(str, pa.Check.str_matches(r"^[a-z0-9_.]+$")),
            "row": _column(int, _POSITIVE),
            "suite": _column(str, pa.Check.isin(["", "libero_spatial", "libero_10"])),
            "experiment": _column(str, pa.Check.isin(["baseline", "modality", "synchronized"])),
            "mode": _column(str, pa.Check.isin(MODES)),
            "gate": _column(str, pa.Check.str_matches(r"^(never|vision >= [\d.]+( & state >= [\d.]+)?)$")),
            "threshold": _column(float, _SHARE),
            "episodes": _column("Int64", _POSITIVE, nullable=True),
            "episodes_from": _column(str, pa.Check.isin(["heading", "said elsewhere in the report", "not stated"])),
            "success": _column(float, _SHARE),
            "latency_ms": _column(float, _POSITIVE, nullable=True),
            "hz": _column(float, _POSITIVE, nullable=True),
            "reuse_rate": _column(float, _SHARE, nullable=True),
            "reuse_is": _column(str, pa.Check.isin(["exact", "approximate", "blank"])),
            "speedup": _column(float, _POSITIVE, nullable=True),
            **{name: _column(str, pa.Check.str_matches(_CELL_OR_BLANK)) for name in NUMBERS},
            **{name: _column(str) for name in ("mode_printed", "note_printed", "note")},
        },
        strict=True,
    ),
    "conclusions": pa.DataFrameSchema(
        {
            "row": _column(int, _POSITIVE),
            **dict.fromkeys(["information_printed", "property_printed", "policy_printed", "property", "policy"], _TEXT),
        },
        strict=True,
    ),
    "files": pa.DataFrameSchema(
        {"row": _column(int, _POSITIVE), "file_printed": _TEXT, "use_printed": _TEXT, "use": _TEXT}, strict=True
    ),
}


def load(table: str = "results", folder: Path = REPORTED) -> pd.DataFrame:
    """One row per printed row: `results` (the seven tables of figures, 34 rows), `conclusions` (3) or `files` (4).

    In `results` rates are shares in [0, 1] and latencies milliseconds; `episodes` is missing where the report does not
    say. Columns `*_printed` are cells as printed, blank where the table has no such column. Added to those of the file:
    `successes`, the count that the rate stands for, and `name`, what the row tries: a mode, or the gate `baseline` or
    `synchronized`.

    ValueError: no such table or file, a missing or unknown column, a value that breaks its rule or is not the printed
    one, a rate that no whole number of successes gives, a row given twice.
    """
    if table not in _SCHEMAS:
        raise ValueError(f"table = {table!r} is not known; choose one of {', '.join(_SCHEMAS)}.")
    path = folder / f"{table}.csv"
    if not path.exists():
        raise ValueError(f"{path} does not exist; the report's tables belong there.")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    numbers = frame.columns.intersection([*NUMBERS.values(), "episodes"])
    frame[numbers] = frame[numbers].replace("", np.nan)
    try:
        frame = _SCHEMAS[table].validate(frame, lazy=True)
        if table == "results":
            _check_results(frame)
            frame["successes"] = pd.array([_successes(row) for row in frame.to_dict("records")], dtype="Int64")
            gates = frame["mode_printed"].replace("", "baseline")
            frame["name"] = frame["mode"].where(frame["experiment"] == "modality", gates)
    except SchemaErrors as errors:
        raise ValueError(f"{path.name}: {_sentence(errors.failure_cases)}") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    return frame


def printed_number(printed: str) -> float:
    """The number in a table cell as printed: `**57.0%**` is 0.57, `~90%` 0.9, `94.6ms` 94.6; blank and `-` are NaN.

    ValueError: any other text.
    """
    match = _cell(printed)
    if match is None:
        return np.nan
    # As decimal text, because 66.7 / 100 is not 0.667 in floating point.
    return float(f"{match['number']}e-2" if match["unit"] == "%" else match["number"])


def counts_that_print(printed: str, episodes: int) -> list[int]:
    """Every number of successes out of `episodes` whose rate is printed as `printed`, a percentage.

    ValueError: not a percentage as the report prints them.
    """
    match = _cell(printed)
    if match is None or match["unit"] != "%":
        raise ValueError(f"{printed!r} is not a percentage as the report prints them (such as 22% or 57.0%).")
    half_a_unit = 0.5 * 10.0 ** -len(match["decimals"] or "")
    percent = 100 * np.arange(episodes + 1) / episodes
    return np.flatnonzero(np.abs(percent - float(match["number"])) <= half_a_unit + 1e-9).tolist()


@dataclass(frozen=True)
class LatencyModel:
    """Mean latency of a step = reuse_rate * reuse_ms + (1 - reuse_rate) * full_ms, in milliseconds."""

    full_ms: float
    reuse_ms: float

    def predict(self, reuse_rate: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Latency in ms at the given shares of reused steps."""
        return reuse_rate * self.reuse_ms + (1 - reuse_rate) * self.full_ms


def fit_latency(rows: pd.DataFrame) -> LatencyModel:
    """The model's two constants by least squares on the columns `reuse_rate` and `latency_ms`.

    ValueError: a blank among them, or fewer than two different reuse rates, which leave the constants undetermined.
    """
    if rows[["reuse_rate", "latency_ms"]].isna().any(axis=None):
        raise ValueError("a row without reuse rate or latency cannot enter the latency model; drop it first.")
    if rows["reuse_rate"].nunique() < 2:
        raise ValueError(
            f"{rows['reuse_rate'].nunique()} different reuse rates do not determine two constants; need 2."
        )
    shares = np.column_stack([1 - rows["reuse_rate"], rows["reuse_rate"]])
    full_ms, reuse_ms = np.linalg.lstsq(shares, rows["latency_ms"].to_numpy(), rcond=None)[0]
    return LatencyModel(float(full_ms), float(reuse_ms))


def small_comparisons(results: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of 3 with 3 episodes that the report draws on, with exact p-values and Holm's over all of them.

    At each threshold every partial mode against `full`, and the gate `synchronized` against `baseline`. `better` is the
    posterior probability that the first of the two is the better one.
    """
    rows = {}
    for (_, threshold), group in results[results["episodes"] == 3].groupby(["table", "threshold"], sort=False):
        reference = group.iloc[0]  # the tables begin with full, and with baseline
        for other in group.iloc[1:].to_dict("records"):
            counts = (other["successes"], 3, reference["successes"], 3)
            rows[f"{other['name']} against {reference['name']} at {threshold:g}"] = {
                "counts": f"{counts[0]} of 3, {counts[2]} of 3",
                "better": probability_better(*counts),
                "p_fisher": unpaired_p(*counts, "fisher"),
                "p_boschloo": unpaired_p(*counts, "boschloo"),
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.assign(p_holm=holm(table["p_boschloo"]))


def pilot_checks(results: pd.DataFrame) -> pd.DataFrame:
    """Each configuration run with 3 and with 100 episodes: is the one like a sample of the other?

    `p_drawn`: chance of a pilot as far off, were it drawn from the full run; `p_predicted`: chance of a full run as far
    off, predicted from the pilot. Rows in the order of the 100-episode tables.
    """
    rows = {}
    for experiment in ("modality", "synchronized"):
        runs = results[(results["experiment"] == experiment) & (results["suite"] != "libero_10")]
        pairs = runs[runs["episodes"] == 100].merge(
            runs[runs["episodes"] == 3], on=["name", "gate"], suffixes=("", "_3")
        )
        for pair in pairs.to_dict("records"):
            counts = (pair["successes_3"], 3, pair["successes"], 100)
            rows[experiment, f"{pair['name']} {pair['threshold']:g}"] = {
                "pilot": f"{counts[0]} of 3",
                "full_run": f"{counts[2]} of 100",
                "p_drawn": pilot_hypergeometric(*counts).two_sided,
                "p_predicted": pilot_predictive(*counts).two_sided,
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["experiment", "configuration"])


def _cell(printed: str) -> re.Match | None:
    text = printed.replace("*", "").strip()
    if text in ("", "-"):
        return None
    match = _CELL.fullmatch(text)
    if not match:
        raise ValueError(f"{printed!r} is not a number as the report prints them (57.0%, ~90%, 94.6ms, 1.14x).")
    return match


def _check_results(frame: pd.DataFrame) -> None:
    """What pandera's rules on single columns cannot say: rows once, numbers as printed."""
    twice = frame[frame.duplicated(["table", "row"])]
    if len(twice):
        raise ValueError(f"row {twice.iloc[0]['row']} of table {twice.iloc[0]['table']!r} is given more than once.")
    for line, row in enumerate(frame.to_dict("records"), start=2):
        for printed, number in NUMBERS.items():
            # A threshold may be printed in the table's heading alone; then no cell says it.
            in_heading = number == "threshold" and row[printed] == ""
            if not in_heading and not np.array_equal(printed_number(row[printed]), row[number], equal_nan=True):
                raise ValueError(f"line {line} has {number} {row[number]}, but {row[printed]!r} is printed.")
        cell = row["reuse_printed"]
        if row["reuse_is"] != ("approximate" if cell.startswith("~") else "exact" if cell else "blank"):
            raise ValueError(f"line {line} calls the reuse rate {row['reuse_is']}, but {cell!r} is printed.")


def _successes(row: dict) -> int | None:
    if pd.isna(row["episodes"]):
        return None
    counts = counts_that_print(row["success_printed"], row["episodes"])
    if not counts:
        raise ValueError(
            f"row {row['row']} of table {row['table']!r} has success {row['success_printed']}, which is no whole "
            f"number of {row['episodes']} episodes."
        )
    return counts[0]


def _sentence(cases: pd.DataFrame) -> str:
    """The first of pandera's failure cases: line of the file, column, value and rule."""
    case = cases.iloc[0]
    if case["check"] in ("column_in_schema", "column_in_dataframe"):
        return (
            f"column {case['failure_case']!r} is {'not known' if case['check'] == 'column_in_schema' else 'missing'}."
        )
    return f"line {int(case['index']) + 2} has {case['column']} '{case['failure_case']}', which breaks {case['check']}."
