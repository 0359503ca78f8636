"""openpi's folders as its converter writes them, and as people write them by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kvlab.pi0 import load
from kvlab.pi0.checkpoint import checkpoint_digest
from tamper import edit

WRITTEN = ("action_dim", "action_horizon", "paligemma_variant", "action_expert_variant", "precision")
NORMS = "assets/lab/libero/norm_stats.json"


def as_converted(folder: Path) -> Path:
    """With the entries alone that openpi's converter writes."""
    path = folder / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k in WRITTEN}))
    return folder


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("pi05", r"lacks discrete_state_input, .*false in openpi's pi05_libero.*--config discrete_state_input=false$"),
        ("pi0", r"lacks extra_delta_transform, .*true in openpi's pi0_libero.*--config extra_delta_transform=true$"),
    ],
)
def test_what_the_converter_leaves_out_has_to_be_said(publish, kind, told):
    folder = as_converted(publish("openpi", kind)[0])
    with pytest.raises(ValueError, match=told):
        load(folder)


def test_what_it_leaves_out_may_be_given(publish):
    folder = as_converted(publish("openpi", "pi05")[0])
    policies = [load(folder, entries={"discrete_state_input": said}) for said in (True, False)]
    assert [policy.prompt_has_state for policy in policies] == [True, False]
    folder = as_converted(publish("openpi", "pi0")[0])
    policies = [load(folder, entries={"extra_delta_transform": said}) for said in (True, False)]
    assert [sum(policy.conventions.relative) for policy in policies] == [6, 0]


def test_null_is_what_the_model_is(publish):
    assert load(publish("openpi", "pi05", discrete_state_input=None)[0]).prompt_has_state
    folder, _ = publish("openpi", "pi0", extra_delta_transform=None, discrete_state_input=None)
    assert load(folder).conventions.relative == () and not load(folder).prompt_has_state


@pytest.mark.parametrize("wrong", ["false", "true", 0, 1, "", []])
@pytest.mark.parametrize(("kind", "name"), [("pi05", "discrete_state_input"), ("pi0", "extra_delta_transform")])
def test_what_is_neither_true_nor_false(publish, kind, name, wrong):
    folder, _ = publish("openpi", kind, **{name: wrong})
    with pytest.raises(ValueError, match=rf"config.json: {name} should be true or false, got "):
        load(folder)


@pytest.mark.parametrize("name", ["discrete_state_imput", "extra_delta_transforms", "max_tokens", "action_horizn"])
def test_a_misspelt_entry_is_named(publish, name):
    folder, _ = publish("openpi", "pi05", **{name: False})
    with pytest.raises(ValueError, match=f"config.json: {name} is not an entry that is known here"):
        load(folder)


@pytest.mark.parametrize("value", ["8", 8.0, True, 0, -1, [8]])
def test_a_size_that_is_none(publish, value):
    folder, _ = publish("openpi", "pi0", action_horizon=value)
    with pytest.raises(ValueError, match="action_horizon should be a whole number above 0, got "):
        load(folder)


def test_an_entry_that_stands_there_twice(publish):
    path = publish("openpi", "pi05")[0] / "config.json"
    path.write_text(path.read_text().replace("{", '{"discrete_state_input": false, ', 1))
    with pytest.raises(
        ValueError, match="config.json is not readable JSON: it names an entry twice: discrete_state_input"
    ):
        load(path.parent)


def test_pi05_said_of_other_weights(publish):
    folder, _ = publish("openpi", "pi0", pi05=True)
    with pytest.raises(ValueError, match="config.json says Pi0.5, but the weights are those of Pi0$"):
        load(folder)


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@pytest.mark.parametrize("beyond", [0.0, 1.0])
def test_padded_statistics_are_cut_as_openpi_cuts_them(publish, monkeypatch, kind, beyond):
    """openpi takes as many numbers of the statistics as a state of LIBERO has, and gives 7 numbers of an action."""
    rng = np.random.default_rng(0)
    low, spread = rng.uniform(-1, 0, (2, 8)), rng.uniform(1, 2, (2, 8))
    rows = {"mean": low, "std": spread, "q01": low, "q99": low + spread}
    norms = {
        name: {k: [*v[i][:many].tolist(), *[beyond] * (32 - many)] for k, v in rows.items()}
        for i, (name, many) in enumerate((("state", 8), ("actions", 7)))
    }
    folder, _ = publish("openpi", kind, width=8)
    (folder / NORMS).write_text(json.dumps({"norm_stats": norms}))
    policy = load(folder)
    assert (policy.state_dim, policy.action_dim) == (8, 7)
    state, chunk = rng.uniform(-1, 1, 8).astype(np.float32), torch.randn(1, 8, 8)
    scaled = (state - low[0]) / (spread[0] + 1e-6)
    given = chunk[0, :, :7].numpy()
    if kind == "pi05":
        scaled, given = 2 * scaled - 1, (given + 1) / 2
    np.testing.assert_allclose(policy.state(state)[0], scaled, atol=1e-5)
    np.testing.assert_allclose(policy.actions(chunk), given * (spread[1, :7] + 1e-6) + low[1, :7], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda a: a.update(q01=a["q99"], q99=a["q01"]),
            "q01 should not be above q99, but is so in number 0, 1, 2 of action",
        ),
        (lambda a: a.update(q01=["0.1", 0.2, 0.3]), "q01 of action should be a list of finite numbers, got"),
        (lambda a: a.update(q01=[True, 0.2, 0.3]), "q01 of action should be a list of finite numbers, got"),
        (lambda a: a.update(q01=[float("nan"), 0.2, 0.3]), "q01 of action should be a list of finite numbers, got"),
        (lambda a: a.update(q01=[10**400, 0.2, 0.3]), "q01 of action should be a list of finite numbers, got"),
        (lambda a: a.update(q01=0.1), "q01 of action should be a list of finite numbers, got"),
        (lambda a: a.update(q01=[0.1, 0.2]), "action has 2 numbers of q01 and 3 of q99"),
        (lambda a: a.update(q01=None), "q01 of action should be a list of finite numbers, got None"),
    ],
)
def test_statistics_that_cannot_be(publish, change, told):
    folder, _ = publish("openpi", "pi05")
    edit(folder / NORMS, lambda d: change(d["norm_stats"]["actions"]))
    with pytest.raises(ValueError, match=told):
        load(folder)


def test_a_negative_deviation(publish):
    folder, _ = publish("openpi", "pi0")
    edit(folder / NORMS, lambda d: d["norm_stats"]["state"]["std"].__setitem__(3, -1.0))
    with pytest.raises(ValueError, match="norm_stats.json: std should not be negative, but is so in number 3 of state"):
        load(folder)


@pytest.mark.parametrize("norms", [None, [], {"state": []}, {"state": 1, "actions": {}}])
def test_statistics_of_another_form(publish, norms):
    folder, _ = publish("openpi", "pi0")
    (folder / NORMS).write_text(json.dumps({"norm_stats": norms}))
    with pytest.raises(ValueError, match="norm_stats.json"):
        load(folder)


def test_statistics_behind_a_link_are_read_and_are_part_of_the_digest(publish, tmp_path):
    folder, _ = publish("openpi", "pi0")
    (folder / "assets" / "lab" / "libero").rename(tmp_path / "libero")
    (folder / "assets" / "lab" / "libero").symlink_to(tmp_path / "libero")
    assert load(folder).state_dim == 5
    digest = checkpoint_digest(folder)
    edit(tmp_path / "libero" / "norm_stats.json", lambda d: d["norm_stats"]["state"]["mean"].__setitem__(0, 7.0))
    assert checkpoint_digest(folder) != digest


def test_statistics_of_several_robots(publish):
    folder, _ = publish("openpi", "pi0")
    (folder / "assets" / "droid").mkdir()
    (folder / "assets" / "droid" / "norm_stats.json").write_text((folder / NORMS).read_text())
    with pytest.raises(
        FileNotFoundError, match="it has assets/droid/norm_stats.json, assets/lab/libero/norm_stats.json"
    ):
        load(folder)


def test_openpi_executes_five_actions(publish):
    assert load(publish("openpi", "pi05")[0]).conventions.execute == 5
