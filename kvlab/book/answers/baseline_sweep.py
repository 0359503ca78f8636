"""What *Baseline sweep* says, out of `summary.compare` of each suite (`compared`: table by suite, no reuse in each)."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")


def findings(compared: Mapping[str, pd.DataFrame], margin: float, computed_ms: float, reused_ms: float) -> list[str]:
    """The chapter's answer. `margin` is the loss of success that matters, in (0, 1); times are of one replan."""
    said = [_safe(suite, table, margin) for suite, table in compared.items()]
    first = next(iter(compared))
    return [*said, _often(first, compared[first]), _time(first, compared[first], margin, computed_ms, reused_ms)]


def headline(compared: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure: how success goes as reuse grows."""
    falls = [suite for suite, table in compared.items() if table.difference[_most(table)].high < 0]
    if not falls:
        return "No loss of success can be told from chance at any share of reuse"
    where = "" if len(falls) == len(compared) else f" in {text.listed(falls)}"
    return f"The more replans reuse everything, the fewer episodes succeed{where}"


def safest(table: pd.DataFrame, margin: float) -> Setting | None:
    """Of the settings whose loss is below `margin` by its interval, the one that reuses most; None if none is."""
    inside = table.drop(NO_REUSE)[lambda rows: [interval.low > -margin for interval in rows.difference]]
    return _most(inside) if len(inside) else None


def _most(table: pd.DataFrame) -> Setting:
    return table.drop(NO_REUSE, errors="ignore").reuse.astype(float).idxmax()


def _safe(suite: str, table: pd.DataFrame, margin: float) -> str:
    setting = safest(table, margin)
    if setting is None:
        setting = table.drop(NO_REUSE).reuse.astype(float).idxmin()
        lead = f"**`{suite}`: no threshold is shown to be safe.** Even the strictest"
        reading = f"Whether it loses {100 * margin:.0f} points is not decided."
    else:
        lead = f"**`{suite}`: reuse is safe when it is rare.** The loosest threshold that is shown to be safe"
        reading = f"So the loss, if any, is under {100 * margin:.0f} points."
    return (
        f"{lead} ({tables.gate(setting)}) allows reuse at {text.percent(table.reuse[setting])} of replans. There "
        f"{table.k[setting]} of {text.count(table.n[setting], 'episode')} succeed, "
        f"{text.difference(table.difference[setting], 'without reuse')}. {reading}"
    )


def _often(suite: str, table: pd.DataFrame) -> str:
    setting = _most(table)
    difference = table.difference[setting]
    lost = -difference.estimate / (table.k[NO_REUSE] / table.n[NO_REUSE]) if table.k[NO_REUSE] else 0
    costs = "nearly everything" if lost >= 0.9 else "most of the success" if lost >= 0.5 else "part of the success"
    lead = f"Frequent reuse costs {costs}" if difference.high < 0 else "Frequent reuse costs nothing that shows"
    return (
        f"**{lead}.** In `{suite}` the loosest threshold ({tables.gate(setting)}) allows reuse at "
        f"{text.percent(table.reuse[setting])} of replans. There {table.k[setting]} of "
        f"{text.count(table.n[setting], 'episode')} succeed, {text.difference(difference, 'without reuse')}."
    )


def _time(suite: str, table: pd.DataFrame, margin: float, computed_ms: float, reused_ms: float) -> str:
    setting = safest(table, margin) or _most(table)
    mean = computed_ms + table.reuse[setting] * (reused_ms - computed_ms)
    return (
        f"**It saves {text.percent(1 - mean / computed_ms)} of the inference time there.** With {tables.gate(setting)} "
        f"in `{suite}` a mean replan takes {mean:.0f} ms in place of {computed_ms:.0f} ms on a CPU, since the gate has "
        f"to encode the images and denoising is never cached ([What it saves](latency.ipynb))."
    )
