"""How far the view and the state move from what a kept cache was computed from: with age, under a gate."""

from collections.abc import Sequence

import pandas as pd

from kvlab.evidence.rows import check_shared, of_setting, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import pair, paired_difference
from kvlab.reuse import parse_gate
from kvlab.reuse.gates import SIGNALS
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def with_age(records: Records, setting: Setting, signal: str = "vision_anchor", least: int = 10) -> pd.DataFrame:
    """Quantiles (LEVELS) of a signal over the replans that reused, by the age of the cache in replans, and `replans`.

    Ages seen fewer than `least` times are left out.
    """
    rows = of_setting(records.replans, setting)
    ages = rows[rows["reused"]].groupby("age")[signal]
    table = ages.quantile(list(LEVELS)).unstack().assign(replans=ages.size())
    return table[table["replans"] >= least]


def kept(records: Records, settings: Sequence[Setting]) -> pd.DataFrame:
    """What each setting's reused caches were like: one row per setting.

    Columns: `reuse`, its rate; `age`, `oldest`: mean and greatest age in replans; `vision`, `state`: 5th percentile of
    the similarity to the anchor, whatever the gate compares. ValueError: no settings, settings that do not share their
    episodes, a setting that never reused.
    """
    check_shared(records, settings)
    rows = []
    for setting in settings:
        reused = of_setting(records.replans, setting).query("reused")
        if reused.empty:
            raise ValueError(f"`{setting}` never reused, so there is no kept cache to describe")
        row = {
            "setting": setting,
            "reuse": reuse_share(records, setting),
            "age": reused["age"].mean(),
            "oldest": reused["age"].max(),
        }
        lows = reused[["vision_anchor", "state_anchor"]].quantile(LEVELS[0])
        rows.append(row | {"vision": lows["vision_anchor"], "state": lows["state_anchor"]})
    return pd.DataFrame(rows).set_index("setting")


def loop(records: Records, settings: Sequence[Setting], control: Setting) -> pd.DataFrame:
    """What sets a setting's reuse apart from how its gate would open in the control: one row per setting, shares in [0,
    1].

    `old`: how often the gate opened on a cache older than one replan; `step`: how often it would have at the same
    replans, had the cache been of the replan before (both missing where no cache got older). `within`, `after`: the
    reuse rate up to the replan at which the control had finished the same episode, and from then on (missing where no
    episode went on); `late`: the share of replans from then on. ValueError: no settings, or episodes that settings and
    control do not share.
    """
    check_shared(records, [*settings, control] if settings else settings)
    length = of_setting(records.episodes, control).set_index(EPISODE)["replans"]
    rows = []
    for setting in settings:
        replans = of_setting(records.replans, setting).sort_values([*EPISODE, "replan"])
        older = replans[replans.groupby(EPISODE)["age"].shift() >= 1]
        late = replans["replan"].to_numpy() >= length.reindex(pd.MultiIndex.from_frame(replans[EPISODE])).to_numpy()
        reused = replans["reused"]
        row = {"old": older["reused"].mean(), "step": _opens_on_the_step_before(setting, older)}
        rows.append(
            row
            | {"within": reused[~late].mean(), "after": reused[late].mean(), "late": late.mean(), "setting": setting}
        )
    return pd.DataFrame(rows).set_index("setting")


def refusals(records: Records, settings: Sequence[Setting]) -> pd.DataFrame:
    """Which comparison of a gate refused reuse: one row per setting, shares of its refused replans, in [0, 1].

    One column per signal of the gates, where it alone failed, and `several`, where more than one did; missing where a
    gate does not read it. The first replan of an episode, at which there is no cache, is left out. ValueError: no
    settings, settings that do not share their episodes.
    """
    check_shared(records, settings)
    rows = {}
    for setting in settings:
        replans = of_setting(records.replans, setting).sort_values([*EPISODE, "replan"])
        replans = replans.assign(age=replans.groupby(EPISODE)["age"].shift() + 1)
        refused = replans[(replans["replan"] > 0) & ~replans["reused"]].to_dict("records")
        terms = parse_gate(setting.gate).terms
        failed = pd.DataFrame([[not term.holds(row) for term in terms] for row in refused], dtype=bool)
        alone = failed.sum(axis=1) == 1
        rows[setting] = {term.signal: (failed[i] & alone).mean() for i, term in enumerate(terms)}
        rows[setting]["several"] = (failed.sum(axis=1) > 1).mean()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting")


def _opens_on_the_step_before(setting: Setting, replans: pd.DataFrame) -> float:
    gate = parse_gate(setting.gate)
    anew = {f"{signal}_anchor": replans[f"{signal}_previous"] for signal in SIGNALS}
    return pd.Series(
        [gate.opens(row | {"age": 1}) for row in replans.assign(**anew).to_dict("records")], dtype=float
    ).mean()


def matched(
    records: Records, settings: Sequence[Setting], among: Sequence[Setting], confidence: float = 0.95
) -> pd.DataFrame:
    """Each setting beside that one of `among` whose reuse rate is nearest to its own, on the same episodes.

    Columns: `partner`; `reuse`, `partner_reuse`; `k`, `partner_k`, successes; `difference`, setting minus partner, an
    Interval (Tango). ValueError: no settings, none beside a setting itself among the others, or
    settings that do not share their episodes.
    """
    check_shared(records, [*settings, *among] if settings else settings)
    rows = []
    for setting in settings:
        own = reuse_share(records, setting)
        rates = {other: reuse_share(records, other) for other in among if other != setting}
        if not rates:
            raise ValueError(f"there is no other setting to lay beside `{setting}`")
        partner = min(rates, key=lambda other: abs(rates[other] - own))
        mine, its = successes(records, setting), successes(records, partner)
        pairs = pair(mine, its)
        row = {
            "setting": setting,
            "partner": partner,
            "reuse": own,
            "partner_reuse": rates[partner],
            "k": int(mine.sum()),
        }
        row |= {"partner_k": int(its.sum()), "difference": paired_difference(pairs, confidence)}
        rows.append(row)
    return pd.DataFrame(rows).set_index("setting")
