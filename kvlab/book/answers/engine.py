"""What *Inside the engine* says and shows, out of the tables of `kvlab bench --device cuda`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kvlab.bench import gpu, latency
from kvlab.book import text
from kvlab.study.settings import Setting

MODELS = {"base": "Pi0", "base_pi05": "Pi0.5"}
_SIZES = {  # of the table on eight bits
    "base": "Pi0",
    "base_pi05": "Pi0.5 by the engine before",
    "mini_spatial": "the small policy of `libero_spatial`",
}
WORDS = {"vision": "the image encoder", "prefill": "the prefill", "denoise": "the denoising"}
WATCHED = str(Setting("full", latency.WATCHED))
ON_IMAGES, ON_THUMBNAILS = "full when vision >= -1", f"full when {latency.OPEN}"
NAMES = {
    "none": "nothing",
    WATCHED: "nothing, all similarities computed",
    f"full when {latency.VERIFIED}": "everything, gate is verify",
    f"full when {latency.SETTLED}": "everything, gate is settled",
    ON_IMAGES: "everything, gate on images",
    ON_THUMBNAILS: "everything, gate on thumbnails",
    f"prefix when {latency.OPEN}": "images and instruction",
    f"vision_only:skip when {latency.OPEN}": "images",
    f"vision_only:splice when {latency.OPEN}": "images (splice)",
    f"state_only:skip when {latency.OPEN}": "robot state",
    f"text_fixed:skip when {latency.OPEN}": "instruction from the start, images",
    "text_fixed:skip when never": "instruction from the start",
}
STAGES = ("inputs, gate", *latency.STAGES[1:-1])  # as readers see them: frames go to the GPU before anything else
DRAWN = (
    "nothing",
    "robot state",
    "images",
    "images and instruction",
    "everything, gate on images",
    "everything, gate on thumbnails",
)
AGAINST = {  # column of an error table: what it compares
    "error": "engine from eager",
    "engine_float32": "engine from float32",
    "eager_float32": "eager from float32",
    "eight_float32": "engine in eight bits from float32",
}


def findings(plain: pd.DataFrame, errors: pd.DataFrame, facts: dict, closed_loop: str) -> list[str]:
    """The chapter's answer, of Pi0. `plain`: `gpu.by_implementation` of the engine; `closed_loop`: of
    `devices.finding`.
    """
    return [_time(plain), _bound(plain, facts), closed_loop, _exactness(errors)]


def _time(plain: pd.DataFrame) -> str:
    """What a replan takes, and what of it a cache can save."""
    full = plain.loc["none"]
    return (
        f"**Without reuse the engine takes {full.total_p50:.1f} ms; a cache can save images and prefill of it, only "
        f"a kept chunk denoising too.** That is Pi0 at its published size, on one H100."
    )


def _bound(plain: pd.DataFrame, facts: dict) -> str:
    """Which stage is farthest from what the GPU allows; the others are in `floors`."""
    floor = pd.DataFrame(facts["floors"]).T
    reached = plain.loc["none", [f"{stage}_p50" for stage in floor.index]].to_numpy(float)
    far = reached / floor["floor_ms"]
    first = far.idxmax()
    by = "its arithmetic" if floor.ms_operations[first] > floor.ms_bytes[first] else "reading its weights"
    return (
        f"**{WORDS[first].capitalize()} is farthest from what this GPU allows: it takes {far[first]:.1f} times its "
        f"floor, the time for {by}.**"
    )


def headline(engine: pd.DataFrame) -> str:
    """The title of the figure: what the stages of a replan without reuse are of it."""
    full = engine.loc["none"]
    images, denoising = full.vision_p50 + full.prefill_p50, full.denoise_p50
    rest = full.total_p50 - images - denoising
    return (
        f"Without reuse, images and prefill are {text.percent(images / full.total_p50)} of the time, denoising "
        f"{text.percent(denoising / full.total_p50)}, inputs {text.percent(rest / full.total_p50)}"
    )


def drawn(engine: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure."""
    named = engine.rename(index=_name, columns={f"gate_{p}": f"{STAGES[0]}_{p}" for p in ("p50", "p95")})
    return named.loc[[name for name in DRAWN if name in named.index]]


def by_stage(table: pd.DataFrame) -> pd.DataFrame:
    """Medians of all stages in ms, and the total's 95th percentile, of one implementation."""
    names = zip((*STAGES, "total"), latency.STAGES, strict=True)
    shown = {name: table[f"{stage}_p50"].map("{:.1f}".format) for name, stage in names}
    shown |= {"95th percentile": table["total_p95"].map("{:.1f}".format)}
    return pd.DataFrame(shown).rename(index=_name).rename_axis(index=None, columns="what is kept")


def by_steps(own: pd.DataFrame, fewer: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Medians of whole replans by the engine in ms, at the model's own `steps` (rows `own`) and at `fewer`."""
    table = gpu.by_steps(pd.concat([own, fewer])).rename(columns={0: steps})
    table = table[sorted(table, reverse=True)].map("{:.1f}".format).replace("nan", "")
    return table.rename(index=_name).rename_axis(index=None, columns="what is kept; denoising steps")


def in_eight(samples: pd.DataFrame, errors: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows of `eight`: Pi0 out of a run's samples and errors, without reuse, and then `others`."""
    programs = {"engine": "engine_float32", gpu.EIGHT: "eight_float32"}  # and its column of the errors
    none = samples[samples["setting"] == str(latency.CONTROL)].groupby("implementation")
    medians = none[[f"ms_{stage}" for stage in latency.STAGES]].median().loc[[*programs]]
    largest = errors.loc[errors["mode"] == "none", [*programs.values()]].max()
    own = medians.assign(model="base", error=largest.to_numpy()).reset_index()
    return pd.concat([own, others], ignore_index=True)


def new_words(facts: dict) -> str:
    """What a robot state in the prompt adds to kept images, in a sentence."""
    return f"With images kept, a robot state in the prompt adds {facts['new_words_ms']:.1f} ms (*What bounds it*)."


def eight(table: pd.DataFrame) -> pd.DataFrame:
    """The engine with and without eight bits, without reuse: medians in ms, and the error against float32."""
    shown = {"model": table["model"].map(_SIZES).str.replace("`", ""), "program": table["implementation"]}
    for name, stage in zip((*STAGES, "total"), ("gate", "vision", "prefill", "denoise", "total"), strict=True):
        shown[name] = table[f"ms_{stage}"].map("{:.1f}".format).replace("nan", "")
    shown["largest error against float32, %"] = table["error"].map(_error)
    return pd.DataFrame(shown).set_index("model").rename_axis(index=None, columns="model")


def eight_words(table: pd.DataFrame) -> str:
    """What eight bits save of Pi0, in the stages that are computed in them, and what they add to the error there and
    with trained weights, as `eight` has it.
    """
    plain, eight = (table[table["implementation"] == name].set_index("model") for name in ("engine", gpu.EIGHT))
    saved = sum(plain.at["base", stage] - eight.at["base", stage] for stage in ("ms_vision", "ms_prefill"))
    random, trained = (
        f"{_error(plain.at[model, 'error'])} to {_error(eight.at[model, 'error'])} %"
        for model in ("base", "mini_spatial")
    )
    return (
        f"In Pi0 without reuse, eight bits save {saved:.1f} ms of {plain.at['base', 'ms_total']:.1f}; the largest "
        f"error of a chunk grows from {random}. In the small policy, with trained weights, it grows from {trained}."
    )


def _error(share: float) -> str:
    """An error in percent, without the sign."""
    return f"{100 * share:.2g}"


def errors(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The largest error of each mode in percent, by what is compared with what, as far as it was measured."""
    columns = {
        f"{MODELS[name]}, {says}": (100 * table.groupby("mode", sort=False)[column].max()).map("{:.2f}".format)
        for name, table in tables.items()
        for column, says in AGAINST.items()
        if column in table
    }
    order = tables["base"]["mode"].unique()
    return pd.DataFrame(columns).reindex(order).fillna("no state token").rename_axis(index=None, columns="mode")


def floors(facts: dict, engine: pd.DataFrame) -> pd.DataFrame:
    """What each stage cannot be faster than, and what it takes."""
    floor = pd.DataFrame(facts["floors"]).T
    reached = engine.loc["none", [f"{stage}_p50" for stage in floor.index]].to_numpy(float)
    shown = {
        "engine, ms": reached,
        "times the floor": reached / floor.floor_ms,
        "by operations, ms": floor.ms_operations,
        "by bytes, ms": floor.ms_bytes,
        "operations, 10^12": floor.operations / 1e12,
        "weights, GB": floor.bytes / 1e9,
    }
    return pd.DataFrame(shown).map("{:.1f}".format).rename_axis(index=None, columns="stage")


def measured(facts: Mapping[str, dict]) -> pd.DataFrame:
    """Where and how the times were measured, a column a model."""
    return pd.DataFrame({MODELS[name]: _measured(facts[name]) for name in MODELS}).rename_axis(columns="measured")


def _measured(facts: dict) -> dict[str, str]:
    return {
        "GPU": facts["computed_by"],
        "processor": facts.get("processor", "not noted"),
        "torch, Triton": f"{facts['torch']}, {facts['triton']}",
        "date": facts["date"][:10],
        "product of two large matrices": f"{facts['operations_per_ms'] / 1e9:.0f} TFLOP/s",
        "large copy": f"{facts['bytes_per_ms'] / 1e9:.2f} TB/s",
        "new words behind kept images (such as a state in the prompt)": f"{facts['new_words_ms']:.1f} ms",
        "peak GPU memory of the run": f"{facts['peak_gb']:.1f} GB",
        "loading the weights from a local file": f"{facts['load_seconds']:.1f} s",
    }


def loops(by_loop: pd.DataFrame) -> pd.DataFrame:
    """`throughput.by_loop` for readers."""
    shown = {
        "control steps a second": by_loop.steps_per_s.map("{:.1f}".format),
        "this project's is faster by": by_loop.ratio.map("{:.1f}".format),
        "episodes": by_loop.episodes,
    }
    return pd.DataFrame(shown).rename_axis(index=None, columns="loop")


def _exactness(table: pd.DataFrame) -> str:
    own, eager = _largest(table, "error"), "the eager model's in bfloat16"
    lead = f"**Pi0's chunks at the published size are at most {own} from {eager}.**"
    if not {"engine_float32", "eager_float32"} <= {*table}:
        return f"{lead} How far both are from float32 was not measured in this run."
    own, eager = _largest(table, "engine_float32"), _largest(table, "eager_float32")
    nearer = table.engine_float32.max() < table.eager_float32.max()
    of = "most of the difference is the eager model's own rounding" if nearer else "the engine rounds no less"
    return f"{lead} From float32 the engine is at most {own} away and the eager model {eager}: {of}."


def _largest(table: pd.DataFrame, column: str) -> str:
    return f"{100 * np.max(table[column]):.2f} %"


def _name(setting: str) -> str:
    if setting.startswith("layer_wise"):
        return "upper half of the layers"
    return NAMES.get(setting, setting)
