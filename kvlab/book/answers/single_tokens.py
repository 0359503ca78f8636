"""What *Modality separation* says of single image tokens: whether the rule that picks them does anything."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import text
from kvlab.evidence import margins, verdicts, wording
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
RULE, RANDOM, _, _, _, DEEP, DEEP_RANDOM, _, PUBLISHED, _ = NAMES
CONTROLS = dict.fromkeys([*NAMES][1:5], RULE) | {DEEP_RANDOM: DEEP}  # as many tokens by another rule
SUCCESS, DISTANCE = "other tokens lose more episodes", "other tokens answer further off"
SHOWN = {DISTANCE: wording.ratio}


def explanations(
    records: Mapping[str, Records], choices: pd.DataFrame, confidence: float = 0.95
) -> dict[str, dict[str, Prediction]]:
    """That VLA-Cache's rule picks better tokens than others do, by success and by the distance of the answers.

    `choices` as in data/mechanism/tokens.csv. The predictions of one explanation share the error. Nothing by success
    where no two settings that can be compared are recorded.
    """
    far = choices.pivot(index="episode", columns="mode", values="distance")
    fewer, further = {}, {}
    for control, rule in CONTROLS.items():
        apart = _apart(control)
        further[apart] = far[control.mode] / far[rule.mode]
        both = {suite: rows for suite, rows in records.items() if {control, rule} <= {*recorded(rows)}}
        fewer |= {f"{suite}: {apart}": pairs(rows, control, rule) for suite, rows in both.items()}
    judged = {SUCCESS: verdicts.fewer(fewer, confidence)} if fewer else {}
    return judged | {DISTANCE: verdicts.above_one(further, confidence)}


def table(
    records: Mapping[str, Records], choices: pd.DataFrame, times: Latency, confidence: float = 0.95
) -> pd.DataFrame:
    """Every setting that is recorded: the image tokens that it keeps, its success, and its inference."""
    kept, rows = choices.groupby("mode")["kept"].mean().map(text.percent), []
    for suite, mine in records.items():
        settings = _settings(mine)
        cost = savings(mine, [NO_REUSE, *settings], NO_REUSE, times).of_control
        for one in settings:
            success, lost = successes(mine, one), difference(mine, one, NO_REUSE, confidence)
            cells = {"suite": suite, "kept": NAMES[one], "image tokens": kept.get(one.mode, "")}
            cells |= {"successes": f"{success.sum()} of {len(success)}", "points": wording.points(lost)}
            rows.append(cells | {"inference of no reuse": text.percent(cost[one])})
    columns = ["suite", "kept", "image tokens", "successes", "points", "inference of no reuse"]
    return pd.DataFrame(rows, columns=columns).set_index("suite").rename_axis(index=None, columns="suite")


def findings(
    records: Mapping[str, Records],
    explained: Mapping[str, Mapping[str, Prediction]],
    choices: pd.DataFrame,
    times: Latency,
    margin: float,
) -> list[str]:
    """What single tokens cost in time, what success tells of the rule and of every setting, then the answers.

    And what is not recorded.
    """
    told = {suite: rows for suite, rows in records.items() if RULE in recorded(rows)}
    if not told:
        return ["VLA-Cache's rule is not recorded in full."]
    said = [
        _time(told, choices, times),
        _success(told, explained.get(SUCCESS, {}), margin),
        _apart_from_no_reuse(told),
        _answers(explained[DISTANCE], choices),
    ]
    for suite, rows in records.items():
        if lacking := [name for one, name in NAMES.items() if one not in recorded(rows)]:
            said.append(f"Not recorded in full in `{suite}`: {'; '.join(lacking)}.")
    return said


def _time(records: Mapping[str, Records], choices: pd.DataFrame, times: Latency) -> str:
    cost = pd.concat(
        {suite: savings(rows, _settings(rows), NO_REUSE, times).of_control for suite, rows in records.items()}
    )
    slower = int((cost > 1).sum())
    lead = f"Single tokens cost time in {slower} of {text.count(len(cost), 'setting')}"
    lead = "Single tokens cost time" if slower == len(cost) else lead if slower else "Single tokens save time"
    kept = choices.loc[choices["mode"] == RULE.mode, "kept"].mean()
    shares = text.listed([f"{text.percent(cost[suite, RULE])} in `{suite}`" for suite in records])
    return (
        f"**{lead}.** With VLA-Cache's rule, which keeps {text.percent(kept)} of the image tokens, a control step "
        f"takes {shares} of the inference without reuse ({times.name})."
    )


def _success(records: Mapping[str, Records], predictions: Mapping[str, Prediction], margin: float) -> str:
    told = []
    for one in (RULE, PUBLISHED):
        ran = {suite: rows for suite, rows in records.items() if one in recorded(rows)}
        lost = {suite: margins.loss_words(difference(rows, one, NO_REUSE), margin) for suite, rows in ran.items()}
        each = "; ".join(f"in `{suite}` {words}" for suite, words in lost.items())
        told += [f"{NAMES[one]}: {each}."] * bool(each)
    return " ".join([f"**{_choice(predictions)}.**", *told])


def _choice(predictions: Mapping[str, Prediction]) -> str:
    """In how many comparisons which tokens are kept makes a shown difference in success."""
    if not predictions:
        return "Whether it matters for success which tokens are kept is not recorded"
    held, failed = (sum(getattr(one, kind) for one in predictions.values()) for kind in ("holds", "fails"))
    many = text.count(len(predictions), "comparison")
    if not held + failed:
        return f"Which tokens are kept makes no shown difference in success ({many})"
    return (
        f"Other tokens than those of VLA-Cache's rule lose more episodes in {held or 'none'} of {many}, and fewer in "
        f"{failed or 'none'}"
    )


def _apart_from_no_reuse(records: Mapping[str, Records]) -> str:
    """Every setting whose success is shown to differ from that without reuse."""
    compared = {
        (suite, one): difference(rows, one, NO_REUSE) for suite, rows in records.items() for one in _settings(rows)
    }
    shown = {where: gap for where, gap in compared.items() if 0 not in gap}
    each = [
        f"In `{suite}` {NAMES[one]} solves {text.difference(gap, 'without reuse')}."
        for (suite, one), gap in shown.items()
    ]
    many = f"{len(shown) or 'None'} of {text.count(len(compared), 'setting')} {'are' if len(shown) > 1 else 'is'}"
    alone = "By chance one interval in twenty would exclude 0."
    return " ".join([f"**{many} shown to solve fewer or more episodes than no reuse.**", *each, alone])


def _answers(predictions: Mapping[str, Prediction], choices: pd.DataFrame) -> str:
    far, many = predictions[_apart(RANDOM)].effect, choices["episode"].nunique()
    return (
        f"**That other tokens answer further off: {text.verdict(predictions)}.** On "
        f"{text.count(many, 'recorded episode')} of `libero_spatial` chunks with random tokens kept are "
        f"{wording.ratio(far)} times as far from those without reuse as with those of the rule."
    )


def _settings(records: Records) -> list[Setting]:
    return [one for one in NAMES if one in recorded(records)]


def _apart(control: Setting) -> str:
    """How a table names the comparison of other tokens with those of the rule."""
    return f"{NAMES[control]}, compared with {NAMES[CONTROLS[control]]}"
