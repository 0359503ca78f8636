"""What *What to buy instead* says of int8: data/latency/precision.csv, and the rows in data/int8.

Those rows are of policies that are not kept: each is made anew, to the byte, of the recorded one.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from kvlab.bench.precision import FLOATS
from kvlab.book import tables, text
from kvlab.evidence import margins, rows, wording
from kvlab.evidence.stats import Interval, pair, paired_difference
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.pi0 import save
from kvlab.pi0.int8 import ACTIVATIONS, PRECISIONS, WEIGHTS
from kvlab.study.protocol import Protocol
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NO_REUSE = Setting("none")
SETTINGS = {
    FLOATS: (NO_REUSE,),
    WEIGHTS: (NO_REUSE,),
    ACTIVATIONS: (NO_REUSE, Setting("none", denoising_steps=1)),
}
PORTABLE, NATIVE = "portable", "native"  # numerics
Outcomes = Mapping[tuple[str, str], Records]  # by suite and precision, FLOATS among them


def recorded(episodes: int, data: Path = DATA) -> Outcomes:
    """The recorded policies in float32 and in int8, with SETTINGS; left out are suites not recorded in full."""
    found = {}
    for suite, checkpoint in CHECKPOINTS.items():
        with TemporaryDirectory() as made:
            study = Study(checkpoint, SETTINGS[FLOATS], episodes, Protocol(suite), folder=data / "runs")
            studies = {FLOATS: study}
            for precision in PRECISIONS:
                save(study.policy, folder := Path(made, precision), precision=precision)
                rounded = Study(folder, SETTINGS[precision], episodes, Protocol(suite), folder=data / "int8")
                studies[precision] = rounded
            if not any(one.missing() for one in studies.values()):
                found |= {(suite, precision): one.read() for precision, one in studies.items()}
    return found


def changes(outcomes: Outcomes, precision: str, setting: Setting, confidence: float) -> dict[str, Interval]:
    """By suite: success in a precision minus that in float32 without reuse, on the same episodes (Tango)."""
    return {
        suite: paired_difference(
            pair(rows.successes(mine, setting), rows.successes(outcomes[suite, FLOATS], NO_REUSE)), confidence
        )
        for (suite, name), mine in outcomes.items()
        if name == precision and setting in rows.recorded(mine)
    }


def said(measured: pd.DataFrame, outcomes: Outcomes, confidence: float) -> list[str]:
    """Size and time of each precision, and what it loses."""
    lost = {precision: changes(outcomes, precision, NO_REUSE, confidence) for precision in PRECISIONS}
    losses = [_loss(precision, found) for precision, found in lost.items() if found]
    return [_weights(measured), _activations(measured), *losses]


def _weights(measured: pd.DataFrame) -> str:
    files = measured.groupby("precision")["file_mb"].mean()
    return (
        "**Weights in int8 make the file smaller and save no time.** It has "
        f"{text.percent(files[WEIGHTS] / files[FLOATS])} of the recorded one's size; loaded, the weights are "
        "floating-point numbers of 32 bits again."
    )


def _activations(measured: pd.DataFrame) -> str:
    native, portable = (_ratios(measured, numerics, ACTIVATIONS).values() for numerics in (NATIVE, PORTABLE))
    saves = all(ratio.high < 1 for ratio in native)
    longer = all(ratio.low > 1 for ratio in portable)
    return (
        f"**Activations in int8 {'save' if saves else 'are not shown to save'} time with the processor's own "
        f"instructions (VNNI).**{' Portable numerics take longer.' * longer}"
    )


def _ratios(measured: pd.DataFrame, numerics: str, precision: str) -> dict[str, Interval]:
    mine = measured[measured["numerics"].eq(numerics) & measured["precision"].eq(precision)]
    return {row.suite: Interval(row.ratio, row.low, row.high, 0.95, "percentile") for row in mine.itertuples()}


def _loss(precision: str, found: Mapping[str, Interval]) -> str:
    points = f"{100 * margins.BUY:.0f} points"
    suites = {}
    for suite, one in found.items():
        suites.setdefault(margins.loss(one, margins.BUY), []).append(f"`{suite}`")
    words = {
        margins.INSIDE: f"{precision} lose, if anything, under {points}",
        margins.OUTSIDE: f"{precision} lose over {points}",
        margins.UNDECIDED: f"whether {precision} lose over {points} is open",
    }
    where = [
        f"{words[verdict]}{f' in {text.listed(some)}' if len(suites) > 1 else ''}" for verdict, some in suites.items()
    ]
    lead = "; ".join(where)
    return f"**{lead[0].upper()}{lead[1:]}.**"


def costs(measured: pd.DataFrame) -> pd.DataFrame:
    """Size, time and error of each policy in each precision, for readers. Memory is that of native numerics."""
    native = measured[measured["numerics"].eq(NATIVE)].set_index(["suite", "precision"])
    portable = measured[measured["numerics"].eq(PORTABLE)].set_index(["suite", "precision"]).reindex(native.index)
    as_interval = "{0.ratio:.2f} ({0.low:.2f} to {0.high:.2f})".format
    table = pd.DataFrame(
        {
            "suite": native.index.get_level_values("suite"),
            "file, MB": native["file_mb"].map("{:.1f}".format).to_numpy(),
            "weights in memory, MB": native["weights_mb"].map("{:.1f}".format).to_numpy(),
            "time, native": [as_interval(row) for row in native.itertuples()],
            "time, portable": portable["ratio"].map("{:.2f}".format).to_numpy(),
            "error of a chunk": portable["error"].map("{:.3f}".format).to_numpy(),
            "by other noise": portable["other_noise"].map("{:.3f}".format).to_numpy(),
        },
        native.index.get_level_values("precision"),
    )
    return table.rename_axis(index=None, columns="precision")


def success(outcomes: Outcomes, confidence: float) -> pd.DataFrame:
    """Success in each precision, and compared with the same policy in float32 without reuse, for readers."""
    found = []
    for (suite, precision), mine in outcomes.items():
        for setting in rows.recorded(mine):
            solved, lost = rows.successes(mine, setting), changes(outcomes, precision, setting, confidence)[suite]
            row = {"precision": precision, "suite": suite, "setting": tables.lever(setting)}
            row |= {"successes": f"{solved.sum()} of {len(solved)}", "points": "", "loss": ""}
            if precision != FLOATS:
                row |= {"points": wording.points(lost, margins.BUY)}
                row |= {"loss": margins.word(lost, margins.BUY)}
            found.append(row)
    columns = ["precision", "suite", "setting", "successes", "points", "loss"]
    return pd.DataFrame(found, columns=columns).set_index("precision").rename_axis(index=None, columns="precision")
