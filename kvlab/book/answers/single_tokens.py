"""What *Modality separation* says of single image tokens: whether the rule that picks them does anything."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import text
from kvlab.evidence import verdicts, wording
from kvlab.evidence.cost import savings
from kvlab.evidence.rows import pairs, recorded, successes
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
NAMES = {
    parse_setting(setting): words
    for setting, words in {
        "tokens:skip when always": "VLA-Cache's rule",
        "tokens(random):skip when always": "random tokens",
        "tokens(raster):skip when always": "first in raster order",
        "tokens(static):skip when always": "most static",
        "tokens(inverse):skip when always": "static, attended to most",
        "tokens[0:]:skip when always": "VLA-Cache's rule, all layers",
        "tokens(random)[0:]:skip when always": "random tokens, all layers",
        "tokens:splice when always": "VLA-Cache's rule, spliced",
        "tokens@previous:skip when always": "VLA-Cache's rule, as published",
        "tokens@previous:fuse when every(3)": "TTF-VLA's rule",
    }.items()
}
RULE, RANDOM, _, _, _, DEEP, DEEP_RANDOM, *_ = NAMES
CONTROLS = dict.fromkeys([*NAMES][1:5], RULE) | {DEEP_RANDOM: DEEP}  # as many tokens by another rule
SUCCESS, DISTANCE = "other tokens lose more episodes", "other tokens answer further off"
SHOWN = {DISTANCE: wording.ratio}


def explanations(
    records: Mapping[str, Records], choices: pd.DataFrame, confidence: float = 0.95
) -> dict[str, dict[str, Prediction]]:
    """That VLA-Cache's rule picks better tokens than others do, by success and by the distance of the answers.

    `choices` as in data/mechanism/tokens.csv. The predictions of one explanation share the error.
    """
    far = choices.pivot(index="episode", columns="mode", values="distance")
    fewer, further = {}, {}
    for control, rule in CONTROLS.items():
        apart = f"{NAMES[control]}, compared with {NAMES[rule]}"
        further[apart] = far[control.mode] / far[rule.mode]
        both = {suite: rows for suite, rows in records.items() if {control, rule} <= {*recorded(rows)}}
        fewer |= {f"{suite}: {apart}": pairs(rows, control, rule) for suite, rows in both.items()}
    return {SUCCESS: verdicts.fewer(fewer, confidence), DISTANCE: verdicts.above_one(further, confidence)}


def table(
    records: Mapping[str, Records], choices: pd.DataFrame, times: Latency, confidence: float = 0.95
) -> pd.DataFrame:
    """Every setting that is recorded: the image tokens that it keeps, its success, and its inference."""
    kept, rows = choices.groupby("mode")["kept"].mean().map(text.percent), []
    for suite, mine in records.items():
        settings = [one for one in NAMES if one in recorded(mine)]
        cost = savings(mine, settings, NO_REUSE, times).of_control
        for one in settings:
            success, lost = successes(mine, one), difference(mine, one, NO_REUSE, confidence)
            cells = {"suite": suite, "kept": NAMES[one], "image tokens": kept.get(one.mode, "")}
            cells |= {"successes": f"{success.sum()} of {len(success)}", "points": wording.points(lost)}
            rows.append(cells | {"inference of no reuse": text.percent(cost[one])})
    return pd.DataFrame(rows).set_index("suite").rename_axis(index=None, columns="suite")


def finding(
    records: Mapping[str, Records],
    explained: Mapping[str, Mapping[str, Prediction]],
    choices: pd.DataFrame,
    times: Latency,
    margin: float,
) -> str:
    """What the rule does, compared with no reuse, with random tokens, and in time."""
    kept = choices.loc[choices["mode"] == RULE.mode, "kept"].mean()
    said = [
        f"**That VLA-Cache's rule picks better tokens than others is {verdicts.verdict(explained[SUCCESS])} by success "
        f"and {verdicts.verdict(explained[DISTANCE])} by the distance of the answers.** It keeps {text.percent(kept)} "
        "of the image tokens."
    ]
    for suite, rows in records.items():
        lost, (k, by_chance) = difference(rows, RULE, NO_REUSE), (successes(rows, one) for one in (RULE, RANDOM))
        said.append(
            f"In `{suite}` {k.sum()} of {text.count(len(k), 'episode')} succeed, and {by_chance.sum()} with random "
            f"tokens. With the rule that is {text.difference(lost, 'without reuse', margin)}."
        )
    first = next(iter(records))
    share = savings(records[first], [RULE], NO_REUSE, times).of_control.iloc[0]
    return f"{' '.join(said)} A control step takes {text.percent(share)} of the inference without reuse ({times.name})."
