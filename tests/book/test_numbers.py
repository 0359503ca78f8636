"""Numbers in the chapters' text against the recorded rows, counted here without the library that counted them there."""

import json
import re
from functools import cache
from html import unescape
from itertools import combinations
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from pyarrow import parquet
from scipy.stats import norm

from kvlab.evidence.stats import pair, paired_difference
from kvlab.paths import BOOK, CHECKPOINTS, DATA, ROOT
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study


@cache
def runs(suite: str) -> pd.DataFrame:
    """Those of ten denoising steps and five executed actions, in a world that waits, with the noise that all share."""
    columns = ["mode", "gate", "seeing", "task", "initial_state", "seed", "success", "replans", "reused"]
    table = ds.dataset(files_of(suite), format="parquet").to_table(columns=[*columns, "denoising_steps", "execute"])
    table = table.to_pandas()
    plain = table["denoising_steps"].isna() & table["execute"].isna() & (table["seed"] == 0)
    return table.loc[plain, columns]


def files_of(suite: str) -> list[Path]:
    """The recordings of the policy that every chapter reads, in a world that waits."""
    mine = checkpoint_digest(CHECKPOINTS[suite])
    found = {path: said_of(path) for path in (DATA / "runs" / suite).glob("*.parquet")}
    return [path for path, said in found.items() if "delays" not in said and said["checkpoint"] == mine]


def said_of(path: Path) -> dict:
    """What a file of recordings says of all its rows."""
    return json.loads(parquet.read_schema(path).metadata[b"kvlab"])


def setting(mode: str, gate: str = "never", seeing: str = "live", suite: str = "libero_spatial") -> pd.DataFrame:
    rows = runs(suite)
    return rows[(rows["mode"] == mode) & (rows["gate"] == gate) & (rows["seeing"] == seeing)]


def outputs(chapter: str, kind: str) -> list[str]:
    """What the cells of a chapter put out, of one kind (`text/html`)."""
    cells = nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4).cells
    return [o.data[kind] for cell in cells for o in cell.get("outputs", []) if kind in o.get("data", {})]


def answer(chapter: str) -> str:
    """The findings of a chapter, as one text."""
    return next(text for text in outputs(chapter, "text/markdown") if text.startswith("1. "))


def test_the_baseline_sweep_says_what_was_recorded():
    short, long = answer("baseline_sweep").splitlines()[:2]
    for said, suite in ((short, "libero_spatial"), (long, "libero_10")):
        threshold = re.search(r"is images ≥ ([\d.]+):", said)[1]
        rows, none = setting("full", f"vision >= {threshold}", suite=suite), setting("none", suite=suite)
        points = int(rows["success"].sum()) - int(none["success"].sum())
        said_points = {0: "as many", 1: "1 point "}.get(abs(points), f"{abs(points)} points")
        assert f"{rows['success'].sum()} of 100 episodes succeed, {said_points}" in said
        assert re.search(rf"\b{percent_reused(rows):.0f} %", said)
    loose = setting("full", "vision >= 0.9")
    said = f"at {percent_reused(loose):.0f} % of replans (images ≥ 0.9), {loose['success'].sum()} of 100"
    assert said in answer("baseline_sweep")


def test_the_modality_separation_says_what_was_recorded():
    state, clock, instruction, prefix = answer("modality_separation").splitlines()
    table = " ".join(re.sub("<[^>]*>", " ", " ".join(outputs("modality_separation", "text/html"))).split())
    k = {mode: setting(mode, "vision >= 0.8")["success"].sum() for mode in ("vision_only:splice", "vision_only:skip")}
    new, kept = k.values()
    assert f"{new} of 100 episodes succeed: {new - kept} points more than with it computed" in instruction
    fixed = [setting("text_fixed:skip", f"vision >= {t}")["success"].sum() for t in (0.98, 0.945, 0.8)]
    assert re.search(r"text_fixed:skip {} \(\d+ %\) {} \(\d+ %\) {} \(\d+ %\)".format(*fixed), table)
    for suite, gate, verdict in (
        ("libero_spatial", "vision >= 0.98", "no"),
        ("libero_spatial", "vision >= 0.945", "open"),
        ("libero_spatial", "vision >= 0.92", "yes"),
        ("libero_10", "vision >= 0.98", "no"),
        ("libero_10", "vision >= 0.96", "open"),
        ("libero_10", "vision >= 0.945", "a loss, its size open,"),
        ("libero_10", "vision >= 0.9", "yes"),
    ):
        rows = setting("prefix", gate, suite=suite)
        assert re.search(rf"`{suite}`: [^*`]*{verdict} at {percent_reused(rows):.0f} %", prefix)
    assert state.startswith("1. **Keep images and instruction, not the robot state.**")
    for suite, gate in (("libero_spatial", "vision >= 0.945"), ("libero_10", "vision >= 0.96")):
        rows = setting("prefix", gate, suite=suite)
        gain = rows["success"].sum() - on_the_curve(percent_reused(rows), suite)
        assert f": at {percent_reused(rows):.0f} %, {gain:.0f} points more than `full` (" in state
        one, all_ = (setting(mode, "every(2)", suite=suite)["success"].sum() for mode in ("prefix", "full"))
        assert re.search(rf"{suite} prefix every\(2\) full, same gate {one - all_} \(", table)
        rows = setting("prefix", "every(2)", suite=suite)
        lost = on_the_curve(percent_reused(rows), suite, "prefix") - rows["success"].sum()
        assert re.search(
            rf"In `{suite}` `prefix` by every\(2\), at {percent_reused(rows):.0f} % of replans, "
            rf"solves {lost:.0f} points? fewer than behind image gates \(",
            clock,
        )


def test_why_reuse_fails_says_what_was_recorded():
    said = answer("why_reuse_fails")
    k = {part: setting("none", seeing=f"late({part}, 1)")["success"].sum() for part in ("vision", "state", "all")}
    late = f"{k['vision']} of 100 episodes succeed, with a late robot state {k['state']}, with both late {k['all']}"
    assert late in said
    assert k["all"] < min(k["vision"], k["state"]) and "is worse than both old: refuted" in said
    young, old = (setting("full", f"every({period})")["success"].sum() for period in (2, 8))
    assert (
        f"a cache that is renewed every 8 replans solves {old} of 100 episodes. That is {young - old} points "
        "fewer than one renewed every 2 (" in said
    )


def test_why_reuse_fails_sets_share_age_moment_and_plan_apart():
    said, tables = (" ".join(outputs("why_reuse_fails", f"text/{kind}")) for kind in ("markdown", "html"))
    cells = " | ".join(re.findall(r"<td>(.*?)</td>", unescape(tables)))
    ends = re.findall(r"<th rowspan[^>]*>(.*?)</th>", unescape(tables))

    def k(*where: str, suite: str = "libero_spatial") -> int:
        return setting(*where, suite=suite)["success"].sum()

    rare, seldom, half = (k("full", gate) for gate in ("every(8, 7)", "every(4, 3)", "every(2)"))
    late = k("none", "never", "late(all, 1)")
    assert f"everything | every(2): {half} of 100 | every(8, 7): {rare} of 100 | -{rare - half} (" in cells
    assert f"everything kept, every(4, 3) | {seldom} of 100" in cells
    assert f"no reuse, both late by 1: {late} of 100 | every(2): {half} of 100 | -{half - late} (" in cells
    old, gate = (k("prefix", one, suite="libero_10") for one in ("every(20, 10)", "vision >= 0.96"))
    assert f"every(20, 10): {old} of 100 | images ≥ 0.96: {gate} of 100 | -{gate - old} (" in cells
    for suite in ("libero_spatial", "libero_10"):
        on, again = (k(mode, "every(2)", suite=suite) for mode in ("chunk", "repeat"))
        assert f"chunk from its start kept, every(2): {again} of 100 | every(2): {on} of 100 | -{on - again} (" in cells
        assert again < on - 20 and late < half < seldom < rare and old < gate - 20
    for lead in ("older cache costs episodes", "than a gate's", "than to go on in it"):
        assert [end for end in ends if end.endswith(f"{lead}: supported")]
    # of images and instruction alone, in libero_10, it is not shown
    seldom, half = (k("prefix", gate, suite="libero_10") for gate in ("every(4, 3)", "every(2)"))
    assert f"images, instruction | every(2): {half} of 100 | every(4, 3): {seldom} of 100 | -{seldom - half} (" in cells
    assert "at one age, reuse more often costs episodes: not shown" in ends and 0 < seldom - half < 13
    assert "that more frequent reuse does at one age is not shown (2 of 3 predictions hold)." in said
    assert "every(4, 2)" not in cells  # no statement is about it
    assert "the same, within the replans that no reuse took: supported" in ends
    assert "Within the replans that no reuse took, a clock's caches are up to" in said
    assert "**Of 7 statements 5 are supported and 2 are not shown.**" in said


def test_modality_separation_holds_vla_caches_rule_against_random_tokens():
    said, html = (" ".join(outputs("modality_separation", f"text/{kind}")) for kind in ("markdown", "html"))
    table = " ".join(unescape(re.sub("<[^>]*>", " ", html)).split())
    for suite in ("libero_spatial", "libero_10"):
        for name, mode in (("VLA-Cache's rule", "tokens:skip"), ("random tokens", "tokens(random):skip")):
            solved = setting(mode, "always", suite=suite)["success"].sum()
            assert re.search(rf"{suite} {name} \d+ % {solved} of 100 ", table)
    far = pd.read_csv(DATA / "mechanism" / "tokens.csv").groupby("mode")["distance"].median()
    assert (
        far["tokens(random):skip"] > 2 * far["tokens:skip"]
        and "That other tokens answer further off: supported.**" in said
    )


def test_why_reuse_fails_reads_the_mechanism_as_it_was_measured():
    """The rate by trying all in place of a fit, medians in place of means."""
    said = answer("why_reuse_fails")
    table = pd.read_csv(DATA / "mechanism" / "divergence.csv").query("age == 1 and phase == 'any' and group == 'all'")
    full = table[table["mode"] == "full"]
    measured = float(re.search(r"grows by a rate of (-?[\d.]+) \(", said)[1])
    rates = np.arange(-0.1, 0.1, 0.0005) + 1e-6
    curves = np.expm1(rates[:, None] * np.arange(1, 11)) / rates[:, None]
    relative = curves / full.filter(like="step_").to_numpy()[:, None]
    best = relative.sum(2, keepdims=True) / (relative**2).sum(2, keepdims=True)
    rate = rates[((best * relative - 1) ** 2).sum(2).argmin(1)].mean()
    assert measured == pytest.approx(rate, abs=0.001) and "**Amplification at one exponential rate: not shown" in said
    assert ((full["step_10"] - full["step_5"]) / full["step_5"]).max() < 2**0.5  # half of the steps, half of a doubling
    gains = pd.read_csv(DATA / "mechanism" / "sensitivity.csv").pivot(
        index=["episode", "replan"], columns="input", values=["relative", "moved", "real"]
    )
    gain, change = (float(found) for found in re.findall(r"([\d.]+) \([\d.]+ to [\d.]+\) times as far", said))
    assert change < 1 < gain and (gains["relative"]["vision"] > gains["relative"]["state"]).mean() > 0.5
    steady = gains[gains["moved"]["state"] <= 1]["real"]
    assert (steady["vision"] / steady["state"]).median() < gain


def test_predicting_reuse_says_what_was_recorded():
    """Shares counted from the rows: predicted from replans without reuse, measured in the gate's own."""
    said = answer("predicting_reuse")
    signals = Study(DATA / "checkpoints" / "mini_spatial", (Setting("none"),), 100).read().replans["vision_anchor"]
    threshold = float(re.search(r"20 % of replans are at ([\d.]+) or above", said)[1])
    assert (signals >= threshold).mean() == pytest.approx(0.2, abs=0.01)
    measured = percent_reused(setting("full", "vision >= 0.98"))
    assert f"images ≥ 0.98, reused at {measured:.0f} %" in said
    worst = setting("full", "vision@previous >= 0.98")
    predicted = 100 * (signals >= 0.98).mean()  # without reuse the frame before is the anchor
    assert (
        f"images of the replan before ≥ 0.98: {predicted:.0f} % predicted, {percent_reused(worst):.0f} % measured"
        in said
    )


def test_the_february_report_says_what_was_recorded_here():
    """Cells of its table of claims, counted from the rows."""
    cells = nbformat.read(BOOK / "february_report.ipynb", as_version=4).cells
    html = " ".join(o.data.get("text/html", "") for cell in cells for o in cell.get("outputs", []) if "data" in o)
    said = unescape(html)
    k = {t: setting("full", f"vision >= {t}")["success"].sum() for t in (0.985, 0.98, 0.945)}
    assert f"{k[0.985]} of 100, " in said
    assert (
        f"images ≥ 0.98 to images ≥ 0.945, {k[0.98]} of 100 to {k[0.945]} of 100, {k[0.945] - k[0.98]} points (" in said
    )
    late = {part: setting("none", seeing=f"late({part}, 1)")["success"].sum() for part in ("vision", "state")}
    assert f"a late state has {late['state']} of 100, late images {late['vision']} of 100" in said
    words = [setting(f"{m}:skip", "vision >= 0.98")["success"].sum() for m in ("text_fixed", "vision_only")]
    assert f"{words[0] - words[1]} points (" in said
    shares = [
        percent_reused(setting("full", "vision >= 0.98", suite=suite)) for suite in ("libero_spatial", "libero_10")
    ]
    assert f"reuses at {shares[0]:.0f} % and {shares[1]:.0f} %" in said


RECORDED = DATA / "runs"


def test_the_recordings_are_all_counted():
    """Each of them in the findings, and a row for each file in the table of settings."""
    columns = ["suite", "processor", "error", "replans", "wall_s"]
    rows = pd.concat(
        ds.dataset(path).to_table(columns=columns).to_pandas().assign(checkpoint=said_of(path)["checkpoint"])
        for path in RECORDED.glob("libero_*/*.parquet")
    )
    said, (policies, machines, *_, settings) = answer("recordings"), outputs("recordings", "text/html")
    assert f"**{len(rows):,} episodes of " in said and f"They have {rows['replans'].sum():,} replans" in said
    for policy, some in rows.groupby(["suite", "checkpoint"]):
        assert f"<td>{len(some):,}</td>" in policies and f"<td>{some['wall_s'].sum() / 3600:.1f}</td>" in policies, (
            policy
        )
    for many in rows.groupby(["suite", "processor"]).size():
        assert f"<td>{many:,}</td>" in machines
    seeds = [
        ds.dataset(path).to_table(columns=["seed"])["seed"].unique() for path in RECORDED.glob("libero_*/*.parquet")
    ]
    assert settings.count("<tr") == 1 + sum(map(len, seeds))


def test_episodes_of_one_processor_came_out_alike_on_another():
    again = pd.read_csv(DATA / "again" / "other_processor.csv")
    said = (
        f"So have {again['agrees'].sum()} of {len(again)} that were recorded on an Intel Xeon and run again on an AMD"
    )
    assert said in answer("recordings")
    assert again["recorded_on"].str.contains("Xeon").all() and again["run_on"].str.contains("EPYC").all()
    assert (again["first_difference"].isna() == again["agrees"]).all()
    for suite, checkpoint in (("libero_spatial", "mini_spatial"), ("libero_10", "mini_libero_10")):
        for setting, some in again[again["suite"] == suite].groupby("setting"):
            study = Study(
                DATA / "checkpoints" / checkpoint, (parse_setting(setting),), 100, Protocol(suite), folder=RECORDED
            )
            rows = study.read().episodes.set_index(["task", "initial_state"])
            then = rows.loc[list(zip(some["task"], some["initial_state"], strict=True))]
            assert then["processor"].tolist() == some["recorded_on"].tolist()
            assert then["replans"].astype(str).tolist() == some["replans"].astype(str).tolist()


CURVES = {
    ("libero_spatial", "full"): (0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.95, 0.945, 0.9, 0.8),
    ("libero_10", "full"): (0.99, 0.985, 0.98, 0.97, 0.95, 0.9),
    ("libero_spatial", "prefix"): (0.985, 0.98, 0.945, 0.92, 0.8),
    ("libero_10", "prefix"): (0.98, 0.96, 0.945, 0.9),
}


def percent_reused(rows: pd.DataFrame) -> float:
    return 100 * rows["reused"].sum() / rows["replans"].sum()


def on_the_curve(rate: float, suite: str = "libero_spatial", mode: str = "full") -> float:
    """Success in percent of constant thresholds on the images, at a reuse rate in percent."""
    gates = [("none", "never"), *((mode, f"vision >= {t}") for t in CURVES[suite, mode])]
    rows = [setting(*one, suite=suite) for one in gates]
    points = sorted((percent_reused(one), one["success"].sum()) for one in rows)
    return float(np.interp(rate, *zip(*points, strict=True)))


def test_synchronized_gating_says_what_was_recorded():
    _, second, worse, _ = answer("synchronized_gating").splitlines()
    table = " ".join(unescape(re.sub("<[^>]*>", " ", " ".join(outputs("synchronized_gating", "text/html")))).split())
    images, both = (setting("full", gate) for gate in ("vision >= 0.9", "vision >= 0.9 & state >= 0.9"))
    assert f"reuse at {percent_reused(images):.0f} % of replans, and {images['success'].sum()} of 100" in second
    assert f"allows {percent_reused(both):.0f} %, and {both['success'].sum()} succeed" in second
    phase = "vision >= 0.945 if gripper < 1 and curvature < 0.5 and spread < 0.3 else 0.985"
    lost, share = {}, {}
    for gate in (phase, "every(2)"):
        rows = setting("full", gate)
        share[gate], k = percent_reused(rows), rows["success"].sum()
        lost[gate] = on_the_curve(share[gate]) - k
    assert f"solves {lost[phase]:.0f} points fewer than with the image gate (" in worse
    assert f"reuse is allowed at {share[phase]:.0f} % of replans" in worse
    assert f"libero_spatial every(2) {share['every(2)']:.0f} % {k} of 100 -{lost['every(2)']:.0f} (" in table


@pytest.mark.parametrize(
    ("mode", "gate"),
    [
        *[("none", "never"), ("full", "vision >= 0.985"), ("prefix", "vision >= 0.945"), ("full", "vision >= 0.945")],
        *[("full", "vision >= 0.98 & state >= 0.98"), ("full", "vision >= 0.945 if gripper < 1 else 0.985")],
    ],
)
def test_an_arm_is_ten_tasks_by_ten_held_out_initial_states_each_once(mode, gate):
    """An evaluation can repeat one initial state and look whole (huggingface/lerobot#2375)."""
    rows = setting(mode, gate)
    assert set(zip(rows["task"], rows["initial_state"], strict=True)) == {(t, s) for t in range(10) for s in range(10)}
    assert len(rows) == 100


def test_three_or_hundred_says_how_pilots_of_the_recorded_episodes_would_have_come_out():
    """2,000 pilots of three a pair, beside the exact chances, of pairs that McNemar's test tells apart."""
    said = answer("three_or_hundred")
    gates = [("none",), *(("full", f"vision >= {t}") for t in (0.99, 0.985, 0.98, 0.97, 0.95, 0.9))]
    gates += [("full", f"vision >= {t} & state >= {t}") for t in (0.98, 0.97)]
    gates += [(mode, "vision >= 0.945") for mode in ("prefix", *(f"{m}:skip" for m in ("vision_only", "state_only")))]
    ends = [
        setting(*gate).sort_values(["initial_state", "task"])["success"].to_numpy(int)
        for gate in (*gates, ("text_fixed:skip", "vision >= 0.945"))
    ]
    rng, right, pairs = np.random.default_rng(0), [], [*combinations(ends, 2)]
    for one, other in pairs:
        better, worse = (one, other) if one.sum() >= other.sum() else (other, one)
        if abs((one - other).sum()) > norm.isf(0.025 / len(pairs)) * np.sqrt((one != other).sum()):
            drawn = [(better - worse)[rng.choice(100, 3, replace=False)].sum() for _ in range(2_000)]
            right.append((np.array(drawn) > 0).mean())
    share, many = re.search(
        r"A random pilot of 3 ranks (\d+) % of (\d+) pairs right that all episodes tell apart", said
    ).groups()
    level = sum(one.sum() == other.sum() for one, other in pairs)
    assert f"The other {level} pairs of {len(pairs)} have equal successes." in said
    assert len(right) == int(many) and float(share) == pytest.approx(100 * np.mean(right), abs=6)


def test_three_or_hundred_reads_the_simulation_as_it_came_out():
    said, rates = answer("three_or_hundred"), pd.read_csv(DATA / "coverage" / "rates.csv")
    ten = rates[(rates["tasks"] == 10) & (rates["icc"] == 0.3)].groupby(["target", "method"])["coverage"].min()
    for target, method in (
        ("these tasks", "clopper_pearson"),
        ("these tasks", "stratified"),
        ("new tasks", "clopper_pearson"),
    ):
        assert f"{100 * ten[target, method]:.0f} %" in said.splitlines()[2]
    assert f"the pooled one holds the truth in {100 * (1 - 0.95**3 - 0.05**3):.0f} % of studies of 3" in said


def test_what_it_saves_charges_every_replan_of_the_recorded_episodes():
    """One lever and one reuse, counted from the rows and the samples: milliseconds per control step over no reuse's."""
    rows = ds.dataset(files_of("libero_10"), format="parquet").to_table().to_pandas().query("seed == 0")
    samples = pd.read_csv(DATA / "latency" / "inference.csv")
    medians = samples.groupby("setting")[["ms_gate", "ms_vision", "ms_prefill", "ms_denoise"]].median()
    none, kept = medians.loc["none"], medians.loc["prefix when pixels >= -1"]
    parts = (rows["mode"] == "none") & (rows["seeing"] == "live") & rows["execute"].isna()
    every, fewer = (rows[parts & chosen] for chosen in (rows["denoising_steps"].isna(), rows["denoising_steps"] == 2))
    clock = rows[(rows["mode"] == "prefix") & (rows["gate"] == "every(2)") & rows["denoising_steps"].isna()]
    assert len(every) == len(fewer) == len(clock) == 100
    reference = every["replans"].sum() * none.sum() / every["steps"].sum()
    short = none.sum() - 0.8 * none["ms_denoise"]
    reused = none["ms_gate"] + kept["ms_prefill"] + none["ms_denoise"]
    mixed = (clock["replans"] - clock["reused"]).sum() * none.sum() + clock["reused"].sum() * reused
    (table,) = [html for html in outputs("saves", "text/html") if "cpu, of no reuse" in html and "suite" in html]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table.split("</tr>")]
    column = rows[0].index("cpu, of no reuse")
    found = {row[0]: row[column] for row in rows if "libero_10" in row}
    for name, ms, steps in (
        ("2 denoising steps", fewer["replans"].sum() * short, fewer["steps"].sum()),
        ("images, instruction kept, every(2)", mixed, clock["steps"].sum()),
    ):
        assert found[name] == f"{100 * ms / steps / reference:.0f} %"


def test_what_it_saves_has_the_second_seed_of_what_the_first_chose():
    """Whether it shows a loss under 5 points too, from pairs that are counted here."""
    (table,) = [html for html in outputs("saves", "text/html") if "loss, second seed" in html]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table.split("</tr>")]
    found = {tuple(row[:2]): row[-1] for row in rows[1:] if row}
    episode = ["task", "initial_state"]
    columns = [*episode, "mode", "gate", "seeing", "seed", "success", "denoising_steps", "execute"]
    for suite, kind, mode, gate, steps in (
        ("libero_spatial", "reused cache", "prefix", "vision >= 0.98", None),
        ("libero_spatial", "kept chunk", "chunk", "settled <= 0.025", None),
        ("libero_spatial", "lever", "none", "never", 1),
        ("libero_10", "reused cache", "prefix", "vision >= 0.98", None),
    ):
        all_rows = ds.dataset(files_of(suite), format="parquet").to_table(columns=columns).to_pandas()
        plain = all_rows[all_rows["seed"].eq(1) & all_rows["seeing"].eq("live") & all_rows["execute"].isna()]
        own = plain["denoising_steps"].isna() if steps is None else plain["denoising_steps"].eq(steps)
        none = plain[plain["denoising_steps"].isna() & plain["mode"].eq("none")].set_index(episode)["success"]
        won = plain[own & plain["mode"].eq(mode) & plain["gate"].eq(gate)].set_index(episode)["success"]
        assert len(won) == len(none) == 100
        under = paired_difference(pair(won, none)).low > -0.05
        assert found[kind, suite] == ("under 5" if under else "open")
    assert found["lever", "libero_10"] == "not recorded"
    shown = [word == "under 5" for (kind, _), word in found.items() if kind != "lever" and word]
    assert f"A second seed confirms {sum(shown)} of {len(shown)} (" in answer("saves")


def test_every_way_of_seeing_that_is_recorded_is_explained():
    """In the list of words, beside what each word of a setting means."""
    said = (BOOK / "recordings.md").read_text()
    seen = {said_of(path)["setting"].get("seeing", "live") for path in RECORDED.glob("libero_*/*.parquet")}
    assert all(f"`{one.split('(')[0]}" in said for one in seen - {"live"})


def test_explore_says_which_recordings_it_has():
    """Those of the first seed in a world that waits: others are recorded too, and have no point."""
    assert "all of the first seed without delays" in (BOOK / "explore.md").read_text()
    seeds = ds.dataset(files_of("libero_spatial"), format="parquet").to_table(columns=["seed"])["seed"].unique()
    assert set(seeds.to_pylist()) > {0}
    assert any("delays" in said_of(path) for path in RECORDED.glob("libero_*/*.parquet"))


def test_inside_the_engine_quotes_what_was_measured():
    said = "".join(outputs("engine", "text/markdown"))
    base = pd.read_csv(DATA / "latency" / "gpu_base.csv").query("implementation == 'engine'")
    none = base[base["setting"] == "none"][["ms_vision", "ms_prefill", "ms_denoise", "ms_total"]].median()
    assert f"**Without reuse the engine takes {none.ms_total:.1f} ms; a cache" in said
    images, denoising = none.ms_vision + none.ms_prefill, none.ms_denoise
    shares = [f"{100 * ms / none.ms_total:.0f} %" for ms in (images, denoising, none.ms_total - images - denoising)]
    title = "Without reuse, images and prefill are {} of the time, denoising {}, inputs {}".format(*shares)
    assert title in outputs("engine", "text/plain")
    floors = json.loads((DATA / "latency" / "gpu_base.json").read_text())["floors"]
    times = [none[f"ms_{stage}"] / floors[stage]["floor_ms"] for stage in ("denoise", "vision", "prefill")]
    assert f"{max(times):.1f} times its floor" in said
    (bounds,) = [html for html in outputs("engine", "text/html") if "times the floor" in html]
    assert all(f"<td>{one:.1f}</td>" in bounds for one in times)
    error = pd.read_csv(DATA / "latency" / "gpu_base_errors.csv")["error"].max()
    assert f"**Pi0's chunks at the published size are at most {100 * error:.2f} % from the eager model's" in said
    words = json.loads((DATA / "latency" / "gpu_base_pi05.json").read_text())["new_words_ms"]
    assert f"a robot state in the prompt adds {words:.1f} ms (*What bounds it*)" in said
    (programs,) = [html for html in outputs("engine", "text/html") if "only the first succeeds" in html]
    ends = [tuple(map(float, pair)) for pair in re.findall(r"\((\S+) to (\S+)\)</td>", programs)]
    close = sum(low > -5 and high < 5 for low, high in ends)
    assert f"one of 5 in {close} of {len(ends)} pairs.**" in said
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in programs.split("</tr>")]
    for suite in CHECKPOINTS:
        wins = {
            said_of(path)["device"]: parquet.read_table(path) for path in (DATA / "devices" / suite).glob("*.parquet")
        }
        eager, engine = (sum(wins[device]["success"].to_pylist()) for device in ("cuda", "engine"))
        (row,) = [row for row in cells if row[:3] == [suite, "by the engine", "eagerly on a GPU"]]
        assert row[3] == f"{engine} and {eager} of 100"


def test_the_examples_tell_the_engine_from_what_else_one_would_run():
    times = pd.read_csv(DATA / "latency" / "gpu_base.csv").query("setting == 'none'")
    median = times.groupby("implementation")["ms_total"].median()
    said = (ROOT / "examples" / "README.md").read_text()
    assert f"takes {median['engine']:.1f} ms by the engine" in said
    assert f"{median['compiled, one CUDA graph']:.1f} ms (torch.compile, in one CUDA graph)" in said
    assert f"{median['eager, one CUDA graph']:.1f} ms (PyTorch as it comes, in one)" in said


def test_decide_takes_the_cheapest_lever_that_fits_and_loses_little_by_two_seeds():
    """Of the settings without a cache, by their rows and the medians of the stages, added here.

    With one step, which is cheaper, the second seed loses more episodes than with two.
    """
    stages = pd.read_csv(DATA / "latency" / "inference.csv").query("setting == 'none'").median(numeric_only=True)
    table = ds.dataset(files_of("libero_spatial"), format="parquet").to_table().to_pandas()
    waits = ~table["replan_rows"].map(lambda replans: any(one["delay"] for one in replans))  # not in real time
    both = table[table["mode"].eq("none") & table["seeing"].eq("live") & waits]
    rows = both[both["seed"].eq(0)]
    steps = rows["denoising_steps"].fillna(10).astype(int)
    replan = stages.ms_gate + stages.ms_vision + stages.ms_prefill + stages.ms_denoise * steps / 10
    said = answer("decide").splitlines()
    ms = {}
    for key, one in rows.assign(ms=rows["replans"] * replan, taken=steps).groupby(["taken", "execute"], dropna=False):
        ms[key[0] if pd.isna(key[1]) else key] = one["ms"].sum() / one["steps"].sum()
    assert f"takes {ms[10]:.1f} ms, over the budget" in said[1] and ms[10] > 10
    assert f"**Take 2 denoising steps.** A control step takes {ms[2]:.1f} ms" in said[0]
    assert f"A cheaper candidate is 1 denoising step, at {ms[1]:.1f} ms" in said[0]
    assert ms[1] < ms[2] < min(ms[5], 10)
    again = table[table["mode"].eq("none") & table["seeing"].eq("live") & table["seed"].eq(1) & waits]
    again = again[again["execute"].isna()].groupby(again["denoising_steps"].fillna(10).astype(int))["success"].sum()
    assert f"by the second seed, which chose none: {again[2] - again[10]} (" in said[0]


def half_at(suite: str, thresholds: list[float]) -> float:
    """The share of replans that reuse at which straight lines between settings fall to half of no reuse's success."""
    solved, curve = setting("none", suite=suite)["success"].sum(), [(0.0, 1.0)]
    for threshold in thresholds:
        rows = setting("full", f"vision >= {threshold}", suite=suite)
        curve.append((rows["reused"].sum() / rows["replans"].sum(), rows["success"].sum() / solved))
    curve.sort()
    (x0, y0), (x1, y1) = next(pair for pair in zip(curve, curve[1:], strict=False) if pair[1][1] <= 0.5)
    return x0 + (x1 - x0) * (y0 - 0.5) / (y0 - y1)


def test_the_baseline_sweep_finds_where_half_is_lost():
    cells = nbformat.read(BOOK / "baseline_sweep.ipynb", as_version=4).cells
    said = "".join(o.data.get("text/markdown", "") for cell in cells for o in cell.get("outputs", []) if "data" in o)
    for suite in ("libero_spatial", "libero_10"):
        half = half_at(suite, [0.99, 0.985, 0.98, 0.97, 0.95, 0.9])
        assert f"In `{suite}` half of the success without reuse is lost where {half:.0%}".replace("%", " %") in said


def test_buy_instead_reads_chunks_of_few_steps_as_they_were_measured():
    """Geometric means of ratios, and the difference of the mean falls, by sorted columns of the table."""
    html = next(
        html for html in outputs("buy_instead", "text/html") if "spread over the noise, 2 steps over 10" in html
    )
    rows = pd.read_csv(DATA / "mechanism" / "denoising.csv").sort_values(["task", "initial_state"])
    rows, falls = rows[rows["actions"] == "executed"], {}
    names = {"spread": "spread over the noise", "bias": "error of the mean", "error": "error of one chunk"}
    for suite in ("libero_10", "libero_spatial"):
        ten, two = (rows[(rows["suite"] == suite) & (rows["steps"] == steps)] for steps in (10, 2))
        for measure, name in names.items():
            ratio = np.exp(np.log(two[measure].to_numpy() / ten[measure].to_numpy()).mean())
            assert re.search(rf"{suite}: {name}, 2 steps over 10</th>\s*<td>{ratio:.2f} \(", html)
        falls[suite] = ten["spread"].mean() - two["spread"].mean()
    further = f"{falls['libero_10'] - falls['libero_spatial']:z.3f}"
    assert re.search(rf"2 steps: how much further the spread falls in libero_10</th>\s*<td>{further} \(", html)


def test_across_policies_counts_each_policy_against_itself():
    """The difference of the two first policies in one setting, and what the finding does there, from the rows."""
    html = next(html for html in outputs("across_policies", "text/html") if "replans that reuse" in html)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in html.split("</tr>")]
    first = next(n for n, row in enumerate(cells) if row and row[0].startswith("everything kept, every(2)"))
    found = {row[-5]: row[-4:] for row in cells[first:][::-1] if len(row) > 4}
    for suite, folder in CHECKPOINTS.items():
        kept, none = setting("full", "every(2)", suite=suite), setting("none", suite=suite)
        where, reuse, points, verdict = found[folder.name]
        low, high = map(float, re.search(r"\((\S+) to (\S+)\)", points).groups())
        assert (where, reuse) == (suite, f"{percent_reused(kept):.0f} %")
        assert points.startswith(f"{int(kept['success'].sum()) - int(none['success'].sum())} (")
        assert verdict == ("holds" if high < -5 else "fails" if low > -5 else "open")
