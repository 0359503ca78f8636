"""What *Inside the engine* says of made tables: other rows, other sentences."""

import pandas as pd
import pytest

from kvlab.bench import gpu, latency
from kvlab.book.answers import engine

FLOORS = {  # of stages that take 2, 5 and 8 ms
    name: {
        "ms_operations": operations,
        "ms_bytes": bytes_,
        "floor_ms": max(operations, bytes_),
        "operations": 0,
        "bytes": 0,
    }
    for name, operations, bytes_ in (("vision", 1.0, 0.5), ("prefill", 4.0, 1.0), ("denoise", 0.5, 2.0))
}


@pytest.fixture
def stages():
    """Of no reuse 1 + 2 + 5 + 8 ms; with everything kept 1 + 0 + 0 + 8, behind a gate on images 1 + 2 + 0 + 8."""
    parts = {"none": (1, 2, 5, 8), engine.ON_THUMBNAILS: (1, 0, 0, 8), engine.ON_IMAGES: (1, 2, 0, 8)}
    rows = [
        {"implementation": name, "setting": setting, "repeat": 0, "episode": 0, "replan": replan, "reused": False}
        | {f"ms_{stage}": float(slower * ms) for stage, ms in zip(latency.STAGES, (*took, sum(took)), strict=True)}
        for name, slower in (("engine", 1), ("eager", 10))
        for setting, took in parts.items()
        for replan in range(3)
    ]
    table = gpu.by_implementation(pd.DataFrame(rows))
    return {"base": table, "base_pi05": table}


def errors(**more):
    return {"base": pd.DataFrame([{"mode": "none", "error": 0.0075} | more, {"mode": "full", "error": 0.005} | more])}


def findings(stages, floors=FLOORS, **more):
    plain = stages["base"].loc["engine"]
    return engine.findings(plain, errors(**more)["base"], {"floors": floors}, "CLOSED LOOP")


def test_stages_are_told_from_what_a_cache_can_save(stages):
    time, _, closed, _ = findings(stages)
    assert time.startswith("**Without reuse the engine takes 16.0 ms; a cache can save images and prefill of it, only")
    assert time.endswith("a kept chunk denoising too.** That is Pi0 at its published size, on one H100.")
    assert closed == "CLOSED LOOP"
    said = "Without reuse, images and prefill are 44 % of the time, denoising 50 %, inputs 6 %"
    assert engine.headline(stages["base"].loc["engine"]) == said


def test_the_stage_that_is_farthest_from_its_floor_is_named(stages):
    """Denoising takes 8 ms and has a floor of 2 ms by its bytes; with a floor of 8 ms images are farthest."""
    assert findings(stages)[1] == (
        "**The denoising is farthest from what this GPU allows: it takes 4.0 times its floor, the time for reading its "
        "weights.**"
    )
    table = engine.floors({"floors": FLOORS}, stages["base"].loc["engine"])
    assert table["times the floor"].tolist() == ["2.0", "1.2", "4.0"]
    slow = FLOORS | {"denoise": {"ms_operations": 0.5, "ms_bytes": 8.0, "floor_ms": 8.0}}
    assert findings(stages, slow)[1] == (
        "**The image encoder is farthest from what this GPU allows: it takes 2.0 times its floor, the time for its "
        "arithmetic.**"
    )


def test_errors_against_float32_are_said_as_soon_as_they_are_measured(stages):
    apart = findings(stages)[-1]
    assert apart.startswith(
        "**Pi0's chunks at the published size are at most 0.75 % from the eager model's in bfloat16.** How far both"
    )
    assert apart.endswith("How far both are from float32 was not measured in this run.")
    nearer = findings(stages, engine_float32=0.0023, eager_float32=0.0073)[-1]
    assert "the engine is at most 0.23 % away and the eager model 0.73 %: most of the difference is" in nearer
    assert findings(stages, engine_float32=0.01, eager_float32=0.007)[-1].endswith("the engine rounds no less.")


def test_the_table_of_errors_has_what_was_compared():
    tables = errors() | {"base_pi05": pd.DataFrame([{"mode": "none", "error": 0.006, "engine_float32": 0.002}])}
    table = engine.errors(tables)
    assert table.loc["none"].to_list() == ["0.75", "0.60", "0.20"]
    assert table.loc["full"].to_list() == ["0.50", "no state token", "no state token"]


def test_tables_of_stages_name_what_is_kept(stages):
    table = engine.by_stage(stages["base"].loc["eager"])
    assert (
        table.loc["everything, gate on images", "total"] == "110.0"
        and table.loc["nothing", "95th percentile"] == "160.0"
    )
    assert [*table.columns] == [*engine.STAGES, "total", "95th percentile"]  # of what waits for the host, no ratio
    assert list(engine.drawn(stages["base"].loc["engine"]).index)[-1] == "everything, gate on thumbnails"


def test_replans_at_fewer_steps_stand_beside_those_at_the_models_own():
    own = pd.DataFrame({"implementation": "engine", "setting": ["none", engine.ON_IMAGES], "ms_total": [16.0, 11.0]})
    fewer = own.assign(setting=own["setting"] + " steps=2", ms_total=[10.0, 5.0])
    table = engine.by_steps(own, pd.concat([fewer, fewer[:1].assign(setting="none steps=1", ms_total=9.0)]), 10)
    assert [*table.columns] == [10, 2, 1] and table.loc["nothing"].tolist() == ["16.0", "10.0", "9.0"]
    assert table.loc["everything, gate on images"].tolist() == ["11.0", "5.0", ""]


def test_eight_bits_have_their_time_and_their_error():
    times = dict.fromkeys(("ms_gate", "ms_vision", "ms_prefill", "ms_denoise"), 1.0)
    rows = [{"model": "base", "implementation": "engine, 8 bits", **times, "ms_total": 13.25, "error": 0.0777}]
    table = engine.eight(pd.DataFrame([*rows, {"model": "mini_spatial", "implementation": "engine", "error": 0.0144}]))
    assert table.loc["Pi0", ["total", "largest error against float32, %"]].tolist() == ["13.2", "7.8"]
    assert table.index[1] == "the small policy of libero_spatial"
    assert table.iloc[1]["total"] == "" and table.iloc[1]["largest error against float32, %"] == "1.4"


def in_eight(model, totals, errors, saved=1.0):
    """Two rows: images and prefill take `saved` ms less in eight bits, half of it each."""
    plain = {"model": model, "implementation": "engine", "ms_vision": 2.0, "ms_prefill": 5.0}
    eight = plain | {"implementation": "engine, 8 bits", "ms_vision": 2 - saved / 2, "ms_prefill": 5 - saved / 2}
    return [
        one | {"ms_total": total, "error": error}
        for one, total, error in zip((plain, eight), totals, errors, strict=True)
    ]


def test_eight_bits_save_what_is_in_eight_bits():
    rows = in_eight("base", (15.4, 13.2), (0.0025, 0.075)) + in_eight("mini_spatial", (None, None), (0.004, 0.014))
    assert engine.eight_words(pd.DataFrame(rows)) == (
        "In Pi0 without reuse, eight bits save 1.0 ms of 15.4; the largest error of a chunk grows from 0.25 to 7.5 %. "
        "In the small policy, with trained weights, it grows from 0.4 to 1.4 %."
    )


def test_pi0_in_eight_bits_is_of_its_run_and_the_others_are_their_own():
    rows = [
        {"implementation": program, "setting": setting, **{f"ms_{stage}": ms for stage in latency.STAGES}}
        for program, ms in (("eager", 99.0), ("engine", 4.0), (gpu.EIGHT, 3.0))
        for setting, ms in (("none", ms), ("full when always", 1.0))
    ]
    errors = {
        "mode": ["none", "none", "full"],
        "engine_float32": [0.002, 0.003, 0.9],
        "eight_float32": [0.07, 0.06, 0.9],
    }
    others = pd.DataFrame(in_eight("base_pi05", (17.0, 16.0), (0.002, 0.03)))
    found = engine.in_eight(pd.DataFrame(rows), pd.DataFrame(errors), others)
    assert found["model"].tolist() == ["base"] * 2 + ["base_pi05"] * 2
    assert found["implementation"].tolist() == ["engine", gpu.EIGHT] * 2
    assert found["ms_total"].tolist() == [4, 3, 17, 16] and found["error"].tolist() == [0.003, 0.07, 0.002, 0.03]


def test_the_run_of_each_model_has_a_column():
    """What new words take behind kept images is in no other table; a run without a processor says so."""
    of = {
        "computed_by": "H100",
        "torch": "2.11",
        "triton": "3.6",
        "date": "2026-01-02T03:04",
        "operations_per_ms": 7e11,
    }
    of |= {"bytes_per_ms": 3e9, "peak_gb": 10.3, "load_seconds": 2.0}
    table = engine.measured(
        {"base": of | {"new_words_ms": 2.25, "processor": "Xeon"}, "base_pi05": of | {"new_words_ms": 3.0}}
    )
    (words,) = [row for row in table.index if row.startswith("new words")]
    assert engine.new_words({"new_words_ms": 2.96}).startswith(
        "With images kept, a robot state in the prompt adds 3.0 ms"
    )
    assert table.loc[words].tolist() == ["2.2 ms", "3.0 ms"] and table.loc["processor"].tolist() == [
        "Xeon",
        "not noted",
    ]
    assert table.loc["date"].tolist() == ["2026-01-02"] * 2 and table.columns.tolist() == ["Pi0", "Pi0.5"]
