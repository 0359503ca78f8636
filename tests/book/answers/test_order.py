"""In which order to buy: the times in it are computed."""

import pandas as pd

from kvlab.book.answers import order, programs
from kvlab.study.times import latency

RUN = {"low": [19.0, 113.0], "high": [21.0, 138.0], "of": [1, 3]}


def test_the_times_are_those_of_the_rows():
    ways = pd.DataFrame({"ms": [20.0, 100.0], **RUN}, ["engine", "eager"])
    said = order.said(ways, "a loss of 5 points is not excluded")
    assert said.startswith(
        "**Buy in this order:** nothing, if the policy without reuse fits your budget; a faster program, which changes "
        "rounding alone (a loss of 5 points is not excluded: [Inside the engine](engine.ipynb)); fewer denoising steps"
    )
    assert said.endswith("takes 20.0 ms a replan by the engine ([What it saves](saves.ipynb)).")
    ways.loc["compiled, one CUDA graph"] = [30.0, 29.0, 31.0, 1]
    assert "by the engine, 30.0 ms by torch.compile in one CUDA graph (" in order.said(ways, "")


def test_what_is_recorded_has_both_programs_and_one_time_of_the_engine():
    """That of the page's answer is that of the costs of every page, which adds up medians of stages."""
    ms = programs.recorded()["ms"]
    assert 0 < ms["engine"] < ms["compiled, one CUDA graph"] < ms["eager"]
    none = latency("h100").stages.loc["none"].sum()
    assert abs(none - ms["engine"]) < 0.05
    assert f"takes {ms['engine']:.1f} ms a replan by the engine" in order.line()
    assert order.line().startswith(order.short())
