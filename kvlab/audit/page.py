"""What an audit leaves: tables (CSV), a figure (SVG) and one page (HTML) that needs nothing else."""

import shutil
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from kvlab.audit.foretold import APART, MEASURED, farthest_alike, in_order, rank_correlation
from kvlab.audit.replay import Replay, by_setting
from kvlab.book import plots
from kvlab.study.origin import origin

SIGNALS = {"vision": "image tokens", "pixels": "thumbnails", "state": "robot state"}
SHOWN = {
    "reused": ("replans that reuse", "{:.0%}"),
    "error": ("error, all replans", "{:.3f}"),
    "executed": ("error, executed actions", "{:.3f}"),
    "when_reused": ("error where reused", "{:.3f}"),
    "p95": ("its 95th percentile", "{:.3f}"),
    "ms_computed": ("ms, computed", "{:.1f}"),
    "ms_reused": ("ms, reused", "{:.1f}"),
    "ms_step": ("ms per control step", "{:.1f}"),
}
_WIDTH = 7.2  # inches of the figure
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Audit of {name}</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
html {{ color: #000; background: #fff }}
table {{ border-collapse: collapse; font-size: 14px }}
th, td {{ padding: .3rem .5rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: bottom }}
th:first-child, td:first-child {{ text-align: left; white-space: nowrap }}
.scroll {{ overflow-x: auto }}
.warning {{ border-left: 4px solid #D55E00; padding: .1rem 1rem }}
svg {{ max-width: 100%; height: auto }}
</style></head><body>
<h1>What reuse does to the actions of {policy} on {name}</h1>
<p>{facts}</p>
<div class="warning"><p><strong>Agreement offline is not success.</strong> Here the robot goes where it went when it was
recorded, whatever the policy answers. On a robot a small error leads to another observation, and errors add up. Before
a setting is used, run it in closed loop: <code>kvlab run</code>.</p>
<p>How well this error foretold success where both are recorded, in LIBERO with 100 episodes a setting (intervals by
bootstrap over settings, as if they were independent). It ranks settings that reuse. It does not rank fewer denoising
steps among them, and it is 0 however many actions are executed:</p>
<ul>
{told}
</ul></div>
<h2>Settings</h2>
<p>The error of a replan is how far its chunk of actions is from the one computed without reuse from the same
observation and noise: the root mean square over actions and their numbers, in the checkpoint's normalised units (1 is a
standard deviation of the training actions or, where it scales by quantiles, half their range). Executed actions are
those before the next replan. Milliseconds are medians on this machine; per control step, at this share of reuse.</p>
<div class="scroll">{table}</div>
<h2>Over time</h2>
<p>Above: how similar each replan's inputs are to those of the replan before (cosine), one line an episode. A gate
compares with the last computed replan, which may be older. Below: the error where a setting reuses, its mean and the
5th to 95th percentile.</p>
{svg}
<h2>How it was made</h2>
<p><code>{command}</code></p>
<p>Every replan is a row of <code>replans.csv</code>, every setting one of <code>settings.csv</code>.</p>
</body></html>
"""


def write(out: Path, replay: Replay, rows: pd.DataFrame, command: str) -> pd.DataFrame:
    """A folder with `settings.csv`, `replans.csv`, `audit.svg` and `index.html`, moved there complete; the settings."""
    settings = by_setting(rows)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed run left
    try:
        part.mkdir(parents=True)
        settings.to_csv(part / "settings.csv", float_format="%.6g")
        rows.to_csv(part / "replans.csv", index=False, float_format="%.6g")
        figure(rows, settings, replay.dataset.fps).savefig(part / "audit.svg", metadata={"Date": None, "Creator": None})
        (part / "index.html").write_text(page(replay, settings, (part / "audit.svg").read_text(), command))
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return settings


def figure(rows: pd.DataFrame, settings: pd.DataFrame, fps: float) -> Figure:
    """Similarity of each replan with the one before over time, and the error where each setting reuses."""
    reuse = settings.index[settings["reused"] > 0]
    heights = [2.4, 0.6 + 0.25 * len(reuse)]
    fig, (above, below) = plots.page(2, height=sum(heights), width=_WIDTH, height_ratios=heights)
    seen = rows[rows["setting"] == settings.index[0]].dropna(subset=["vision"])
    for (name, words), look in zip(SIGNALS.items(), ("full", "pixels", "state"), strict=True):
        for _, one in seen.groupby("episode"):
            above.plot(one["frame"] / fps, one[name], color=plots.look(look)["color"], linewidth=0.8, alpha=0.7)
        above.plot([], [], label=words, color=plots.look(look)["color"])
    above.set(xlabel="time since the episode's start, s", ylabel="cosine with the\nreplan before")
    above.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    for y, setting in enumerate(reuse):
        errors = rows[(rows["setting"] == setting) & rows["reused"]]["error"]
        look = plots.look(setting)
        below.hlines(y, *errors.quantile([0.05, 0.95]), color=look["color"])
        below.plot(errors.mean(), y, linestyle="", **look)
    below.set_yticks(range(len(reuse)), [f"{one}  ({settings.reused[one]:.0%} reuse)" for one in reuse])
    below.set(xlabel="error where reused, normalised units", ylim=(max(len(reuse), 1) - 0.5, -0.5), xlim=(0, None))
    return fig


def page(replay: Replay, settings: pd.DataFrame, svg: str, command: str) -> str:
    """The page; what comes from the dataset, the checkpoint or the user is escaped."""
    shown = pd.DataFrame({words: settings[name].map(how.format) for name, (words, how) in SHOWN.items()})
    served, episodes = replay.served, replay.episodes
    frames = sum(one["length"] for one in episodes)
    machine = origin(device=served.device)
    facts = (
        f"{len(episodes)} of {len(replay.dataset.episodes)} episodes, {frames} frames at {replay.dataset.fps:g} a "
        f"second; checkpoint {served.name} ({served.digest}); computed by {machine.computed_by} on "
        f"{machine.processor}, torch {machine.torch}."
    )
    return PAGE.format(
        name=escape(replay.dataset.root.resolve().name),
        policy=escape(Path(served.name).name),
        facts=escape(facts),
        told=evidence(),
        table=shown.replace("nan", "").rename_axis(None).to_html(border=0),
        svg=svg[svg.index("<svg") :],
        command=escape(command),
    )


def evidence() -> str:
    """How well the error foretold success over the recorded settings, an item of a list for each suite."""
    said = []
    for path in sorted(MEASURED.glob("*.csv"), reverse=True):
        table = pd.read_csv(path, index_col="setting")
        error, success = table["error"], table["successes"] / table["episodes"]
        ranks = [rank_correlation(error[of], success[of]) for of in (error >= 0, table["reused"] > 0)]
        of_all, of_reuse = (f"{r.estimate:.2f} (95 % interval {r.low:.2f} to {r.high:.2f})" for r in ranks)
        right, pairs = in_order(error, success)
        good, bad = (
            f"<code>{escape(one)}</code> (error {error[one]:.2f}) succeeds in {success[one]:.0%}"
            for one in farthest_alike(error, success)
        )
        said.append(
            f"<li>{path.stem}, a small policy, {len(table)} settings: the rank correlation of error and success is "
            f"{of_all}; over the {(table['reused'] > 0).sum()} that reuse, {of_reuse}. Of {pairs} pairs of settings "
            f"that differ by {100 * APART:.0f} points or more, the smaller error does better in {right}. Yet at "
            f"nearly equal errors {good} of episodes, {bad}.</li>"
        )
    return "\n".join(said)
