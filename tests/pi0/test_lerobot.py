"""LeRobot's folders: what its releases differ in, which cameras they feed, how much of a chunk they execute."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kvlab.pi0 import load
from tamper import edit, edit_weights

STATE = np.array([0.3, -0.2, 0.1, -1.3, 0.9], np.float32)


def step(data: dict, name: str) -> dict:
    return next(s for s in data["steps"] if s["registry_name"] == name)


def cameras(*names: str) -> dict[str, dict]:
    """Entries of `config.json` for images of these names, and a state."""
    features = {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 16, 16]} for name in names}
    return {"input_features": features | {"observation.state": {"type": "STATE", "shape": [5]}}}


def renamed(**names: str) -> dict[str, str]:
    return {f"observation.images.{old}": f"observation.images.{new}" for old, new in names.items()}


# How much of a chunk is executed


def test_executed_actions_are_the_checkpoints(publish):
    folder, _ = publish("lerobot", "pi0")
    assert load(folder).conventions.execute == 4
    assert load(folder, entries={"n_action_steps": 7}).conventions.execute == 7
    edit(folder / "config.json", lambda d: d.pop("n_action_steps"))
    assert load(folder).conventions.execute == 8  # LeRobot's 50, at most the chunk


@pytest.mark.parametrize(
    ("many", "told"),
    [(9, "executes 9 actions of a chunk of 8"), (0, "n_action_steps should be a whole number above 0, got 0")],
)
def test_executed_actions_that_cannot_be(publish, many, told):
    with pytest.raises(ValueError, match=told):
        load(publish("lerobot", "pi0", n_action_steps=many)[0])


# What its releases put into the prompt of a Pi0.5


def prompt(policy) -> str:
    return policy.tokenizer.decode(policy.tokens("go", STATE)[0, 1:].tolist(), skip_special_tokens=False)


def test_releases_before_0_5_pad_the_state_in_the_prompt(publish):
    """Their step pads the normalised state with zeros to `max_state_dim`, 6 here, before it is put into bins."""
    folder, _ = publish("lerobot", "pi05")
    numbers = prompt(load(folder)).removeprefix("Task: go, State: ").removesuffix(";\nAction: ").split()
    assert len(numbers) == 5
    for version, padding in (("0.4.0", ["128"]), ("0.4.4", ["128"]), ("0.5.0", []), ("0.6.1", [])):
        told = prompt(load(folder, entries={"lerobot_version": version}))
        assert told == f"Task: go, State: {' '.join([*numbers, *padding])};\nAction: "


def test_a_release_that_nothing_tells_has_to_be_said(publish):
    folder, _ = publish("lerobot", "pi05")
    edit(folder / "config.json", lambda d: d.pop("use_relative_actions"))  # which releases from 0.5.1 on write
    with pytest.raises(
        ValueError, match="does not tell which LeRobot .* padded to 32 .*--config lerobot_version=0.4.4$"
    ):
        load(folder)
    with pytest.raises(ValueError, match="lerobot_version should be like 0.4.4, got 'newest'"):
        load(folder, entries={"lerobot_version": "newest"})
    assert load(folder, entries={"lerobot_version": "0.4.3"}).conventions.padded_state


def test_of_a_pi0_the_release_does_not_matter(publish):
    folder, _ = publish("lerobot", "pi0")
    edit(folder / "config.json", lambda d: d.pop("use_relative_actions"))
    assert not load(folder).conventions.padded_state


# Cameras


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"), ("agentview", "wrist")),
        (("right_wrist_0_rgb", "left_wrist_0_rgb", "base_0_rgb"), ("wrist", "agentview")),
        (("image", "right_wrist_0_rgb"), ("agentview",)),
        (("image", "wrist_image"), ("agentview", "wrist")),
        (("image", "image2", "image3"), ("agentview", "wrist")),
        (("image", "front"), ("agentview", "front")),  # LeRobot refuses these on LIBERO, and so does a study
        (("top", "side"), ("top", "side")),
    ],
)
def test_slots_that_libero_does_not_fill_are_masked(publish, names, expected):
    assert load(publish("lerobot", "pi0", **cameras(*names))[0]).config.cameras == expected


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("names", "pairs", "expected"),
    [
        (("camera1", "camera2"), {"image": "camera1", "image2": "camera2"}, ("agentview", "wrist")),
        (("camera1", "camera2"), {"image": "camera2", "wrist_image": "camera1"}, ("wrist", "agentview")),
        (("camera1", "camera2", "camera3"), {"image": "camera1", "image2": "camera2"}, ("agentview", "wrist")),
        (("camera1", "camera2"), {"image": "camera1"}, ("agentview",)),
        (("image", "image2"), {"image": "image2", "image2": "image"}, ("wrist", "agentview")),
        (("image", "image2"), {"front": "image", "glove": "image2"}, ("agentview", "wrist")),
    ],
)
def test_a_rename_map_saved_or_given(publish, names, pairs, expected, given):
    folder, _ = publish("lerobot", "pi0", **cameras(*names))
    change = {"rename_map": renamed(**pairs)}
    if not given:
        edit(
            folder / "policy_preprocessor.json",
            lambda d: step(d, "rename_observations_processor")["config"].update(change),
        )
    assert load(folder, entries=change if given else None).config.cameras == expected


def test_a_given_map_goes_before_the_saved_one(publish):
    folder, _ = publish("lerobot", "pi0", **cameras("camera1", "camera2"))
    saved = {"rename_map": renamed(image="camera1", image2="camera2")}
    edit(
        folder / "policy_preprocessor.json", lambda d: step(d, "rename_observations_processor")["config"].update(saved)
    )
    other = {"rename_map": renamed(image="camera2", image2="camera1")}
    assert load(folder, entries=other).config.cameras == ("wrist", "agentview")


@pytest.mark.parametrize(
    ("names", "entries", "told"),
    [
        (
            ("image", "base_0_rgb"),
            {},
            "should name cameras, each once, got .*image.*base_0_rgb.*here \\('agentview', 'agentview'\\); say",
        ),
        (
            ("right_wrist_0_rgb",),
            {},
            "should name cameras, each once, .* here \\(\\); say which is which as --config 'rename_map",
        ),
        (("camera1",), {"rename_map": renamed(image="camera2")}, "rename_map should lead to cameras .*: camera1; got"),
        (("camera1",), {"rename_map": ["camera2"]}, "rename_map should be a valid dictionary, got"),
        (("camera1",), {"rename_map": {"image": 1}}, "rename_map.image should be a valid string, got 1"),
    ],
)
def test_cameras_that_cannot_be(publish, names, entries, told):
    folder, _ = publish("lerobot", "pi0", **cameras(*names))
    with pytest.raises(ValueError, match=told):
        load(folder, entries=entries)


# Statistics, types and steps


def test_eps_widens_the_state_and_not_the_action(publish, statistics):
    """As in LeRobot: it is added where a number is divided, and left out on the way back."""
    folder, _ = publish("lerobot", "pi0")
    for part, name in (("pre", "normalizer_processor"), ("post", "unnormalizer_processor")):
        edit(folder / f"policy_{part}processor.json", lambda d, name=name: step(d, name)["config"].update(eps=0.5))
    stats = load(folder).stats
    np.testing.assert_allclose(stats["state_std"], statistics["state"]["std"] + 0.5, rtol=1e-6)
    np.testing.assert_allclose(stats["action_std"], statistics["action"]["std"], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda t: t.update({"q01": t["q99"], "q99": t["q01"]}),
            "q01 should not be above q99, but is so in number 0, 1, 2",
        ),
        (
            lambda t: t.update({"q01": torch.tensor([float("inf"), 0, 0])}),
            "q01 of action should be a list of finite numbers",
        ),
        (
            lambda t: t.update({"q01": torch.zeros(3, dtype=torch.bool)}),
            "q01 of action should be a list of finite numbers",
        ),
        (lambda t: t.update({"q01": torch.zeros(1, 3)}), "q01 of action should be a list of finite numbers"),
        (lambda t: t.pop("q01"), "lacks q01 of action, which QUANTILES normalisation needs"),
    ],
)
def test_statistics_that_cannot_be(publish, change, told):
    folder, _ = publish("lerobot", "pi05")

    def of_action(tensors):
        mine = {k.removeprefix("action."): v for k, v in tensors.items() if k.startswith("action.")}
        change(mine)
        for key in [k for k in tensors if k.startswith("action.")]:
            del tensors[key]
        tensors |= {f"action.{k}": v.clone() for k, v in mine.items()}

    edit_weights(folder / "post.safetensors", of_action)
    with pytest.raises(ValueError, match=told):
        load(folder)


def test_a_state_that_would_be_divided_by_zero(publish):
    folder, _ = publish("lerobot", "pi0")
    edit_weights(folder / "pre.safetensors", lambda t: t["observation.state.std"].__setitem__(2, 0.0))
    assert np.isfinite(load(folder).state(STATE).numpy()).all()  # LeRobot adds its eps
    edit(folder / "policy_preprocessor.json", lambda d: step(d, "normalizer_processor")["config"].update(eps=0.0))
    with pytest.raises(ValueError, match="std of state is 0 in number 2, and divides there"):
        load(folder)


def test_statistics_in_bfloat16(publish):
    folder, _ = publish("lerobot", "pi0")
    edit_weights(folder / "pre.safetensors", lambda t: t.update({k: v.bfloat16() for k, v in t.items()}))
    stored = load_file(folder / "pre.safetensors")["observation.state.mean"]
    np.testing.assert_array_equal(load(folder).stats["state_mean"], stored.float().numpy())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"use_visual_memory": True}, "use_visual_memory should be False, got True"),
        ({"use_proprioceptive_memory": True}, "use_proprioceptive_memory should be False, got True"),
        ({"use_peft": True}, "use_peft should be False, got True"),
        ({"n_obs_steps": 2}, "n_obs_steps should be 1, got 2"),
        ({"image_resolution": 16}, "image_resolution should be a valid list, got 16"),
        ({"image_resolution": [16]}, "image_resolution List should have at least 2 items"),
        ({"min_period": "0.004"}, "min_period should be a valid number, got '0.004'"),
        ({"output_features": {"action": 7}}, "output_features.action should be a valid dictionary"),
        (
            {"output_features": {"action": {"type": "ACTION", "shape": []}}},
            "output_features.action.shape List should have at least 1 item",
        ),
        ({"input_features": None}, "input_features should name cameras"),
        ({"num_inference_steps": 10.0}, "num_inference_steps should be a whole number above 0, got 10.0"),
    ],
)
def test_entries_that_cannot_be(publish, change, told):
    folder, _ = publish("lerobot", "pi0", **change)
    with pytest.raises(ValueError, match=f"config.json: {told}"):
        load(folder)


def test_entries_of_training_may_be_anything(publish):
    load(publish("lerobot", "pi0", optimizer_lr="much", pretrained_revision=None, a_new_entry={"x": 1})[0])


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("pre", lambda d: d.update(steps={}), "steps should be a valid list"),
        ("pre", lambda d: d["steps"].append("normalizer_processor"), "steps.7 should be a valid dictionary"),
        ("pre", lambda d: d["steps"].append(d["steps"][0]), "should have each step once"),
        (
            "pre",
            lambda d: d["steps"].append({"class": "os.system", "config": {}}),
            "steps that are not those .*: os.system$",
        ),
        (
            "pre",
            lambda d: step(d, "relative_actions_processor")["config"].update(enabled="false"),
            "relative_actions_processor: enabled should be true or false, got 'false'",
        ),
        (
            "pre",
            lambda d: step(d, "relative_actions_processor")["config"].update(exclude_joints="gripper"),
            "exclude_joints should be a valid list, got 'gripper'",
        ),
        (
            "pre",
            lambda d: step(d, "relative_actions_processor")["config"].update(enabled=True),
            "should both make actions relative, or neither",
        ),
        (
            "pre",
            lambda d: step(d, "normalizer_processor")["config"].update(normalize_observation_keys=[]),
            "normalisation of state should be one of .*, got IDENTITY",
        ),
        ("post", lambda d: step(d, "unnormalizer_processor")["config"].update(eps="1"), "eps should be a valid number"),
    ],
)
def test_processors_that_cannot_be(publish, part, change, told):
    folder, _ = publish("lerobot", "pi0")
    edit(folder / f"policy_{part}processor.json", change)
    with pytest.raises(ValueError, match=told):
        load(folder)


def test_release_0_5_1_has_another_name_for_relative_actions(publish):
    folder, _ = publish("lerobot", "pi0")

    def rename(data):
        step(data, "relative_actions_processor")["config"]["enabled"] = True
        step(data, "relative_actions_processor")["registry_name"] = "delta_actions_processor"

    edit(folder / "policy_preprocessor.json", rename)
    edit(
        folder / "policy_postprocessor.json",
        lambda d: step(d, "absolute_actions_processor")["config"].update(enabled=True),
    )
    assert load(folder).conventions.relative == (True,) * 3


def test_an_excluded_joint_without_a_name_excludes_nothing(publish):
    """As in LeRobot: the empty text is in every name."""
    folder, _ = publish("lerobot", "pi0")
    settings = {"enabled": True, "exclude_joints": ["", "y", "grip"], "action_names": ["x", "y", "grip"]}
    edit(
        folder / "policy_preprocessor.json", lambda d: step(d, "relative_actions_processor")["config"].update(settings)
    )
    edit(
        folder / "policy_postprocessor.json",
        lambda d: step(d, "absolute_actions_processor")["config"].update(enabled=True),
    )
    assert load(folder).conventions.relative == (True, False, False)
