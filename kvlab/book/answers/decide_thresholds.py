"""What *Decide for your own policy* says of thresholds: which one a policy's own signals suggest."""

import pandas as pd

from kvlab.book import text
from kvlab.book.answers.second_seed import NO_REUSE
from kvlab.evidence import prediction, rows
from kvlab.evidence.share import allowed_share
from kvlab.reuse import parse_gate
from kvlab.reuse.gates import SIMILARITIES
from kvlab.study.records import Records

SIGNALS = {"vision_anchor": "images", "pixels_anchor": "thumbnails", "state_anchor": "robot state"}
SHARES = (0.1, 0.25, 0.5, 0.75)
REPORTED = "vision >= 0.985"  # the February report's gate


def table(records: Records) -> pd.DataFrame:
    """By how many replans of the rows without reuse each signal reaches which threshold; a row for each of SHARES."""
    replans = rows.of_setting(records.replans, NO_REUSE)
    shares = [share for share in SHARES if share <= replans[[*SIGNALS]].notna().mean().min()]
    columns = {
        f"{name} ≥": [f"{prediction.threshold(records, NO_REUSE, share, signal):.4f}" for share in shares]
        for signal, name in SIGNALS.items()
    }
    return pd.DataFrame(columns, [f"{share:.0%}" for share in shares]).rename_axis(columns="replans allowed")


def words(records: Records) -> str:
    """What the February report's threshold would allow, and how far such predictions were off where they were tried."""
    allowed = text.percent(_predicted(records, REPORTED))
    said = f"The February report's `{REPORTED}` would allow {allowed} of replans here."
    tried = [
        abs(_predicted(records, setting.gate) - allowed_share(records, setting))
        for setting in rows.recorded(records)
        if setting.mode != "none" and 0 < len(reads := parse_gate(setting.gate).reads) and reads <= {*SIMILARITIES}
    ]
    if not tried:
        return f"{said} No gate that compares is recorded here, so that no prediction can be checked."
    gates = "1 gate that compares was" if len(tried) == 1 else f"{len(tried)} gates that compare were"
    points = text.count(round(100 * max(tried)), "point")
    return f"{said} {gates} tried; the share came out within {points} of the prediction."


def _predicted(records: Records, gate: str) -> float:
    return prediction.from_control(records, NO_REUSE, gate)
