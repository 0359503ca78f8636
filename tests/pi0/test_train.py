"""Training: an interrupted run goes on as if nothing had happened, and only with the same settings."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from kvlab.pi0 import PRESETS, load, save
from kvlab.pi0 import train as training
from kvlab.pi0.int8 import ACTIVATIONS

FAST = {"steps": 6, "batch": 3, "draws": 2, "save_every": 2, "learning_rate": 1e-2}


@pytest.fixture(autouse=True)
def tiny_preset(tiny, monkeypatch):
    monkeypatch.setitem(PRESETS, "mini", replace(tiny, max_tokens=8))


def write(path: Path, steps: int, seed: int, language: str = "pick up the bowl", state: int = 5) -> Path:
    random = torch.Generator().manual_seed(seed)
    camera = (steps, 16, 16, 3)
    tensors = {c: torch.randint(0, 256, camera, generator=random).to(torch.uint8) for c in ("agentview", "wrist")}
    tensors["state"] = torch.randn(steps, state, generator=random)
    tensors["action"] = torch.rand(steps, 3, generator=random) * 2 - 1
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"language": language, "render": "fast", "size": "16"})
    return path


@pytest.fixture
def demos(tmp_path) -> Path:
    folder = tmp_path / "demos"
    write(folder / "toy" / "task00_state10_seed0.safetensors", 7, 0)
    write(folder / "toy" / "task01_state11_seed0.safetensors", 5, 1, "close the drawer")
    write(folder / "toy" / "task00_state49_seed0.safetensors", 4, 2)
    return folder


def interrupt(monkeypatch, at: int, error: BaseException | None = None) -> None:
    """Control-C, or another error, at the loss of this step, counted from zero."""
    calls, loss = iter(range(at + 1)), training._loss

    def interrupted(*arguments):
        if torch.is_grad_enabled() and next(calls) == at:
            raise error or KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(training, "_loss", interrupted)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("at", [1, 3, 4], ids=["before a save", "between saves", "just after a save"])
def test_an_interrupted_training_ends_with_the_same_weights(demos, tmp_path, monkeypatch, at):
    training.train(demos, tmp_path / "whole", **FAST)
    with monkeypatch.context() as patch:
        interrupt(patch, at)
        with pytest.raises(KeyboardInterrupt):
            training.train(demos, tmp_path / "broken", **FAST)
    assert (tmp_path / "broken" / "model.safetensors").exists() == (at > 1)
    training.train(demos, tmp_path / "broken", **FAST)
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_resuming_does_not_start_again(demos, tmp_path, monkeypatch):
    """After an interruption in the fifth step two are left, and none after the end."""
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            training.train(demos, tmp_path / "out", **FAST)
    for again in (2, 0):
        with monkeypatch.context() as patch:
            interrupt(patch, again, AssertionError("a step too many"))
            training.train(demos, tmp_path / "out", **FAST)


def test_a_seed_decides_and_no_two_share_the_noise_of_a_step(demos, tmp_path, monkeypatch):
    drawn, draw = [], training._Sampler.draw
    monkeypatch.setattr(
        training._Sampler,
        "draw",
        lambda self, augment: (augment and drawn.append(torch.initial_seed())) or draw(self, augment),
    )
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        training.train(demos, tmp_path / name, **FAST | {"steps": 2}, seed=seed)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    assert drawn[:2] == drawn[2:4] and len({*drawn}) == 4


@pytest.mark.parametrize("other", [{"batch": 4}, {"steps": 8}, {"learning_rate": 1e-3}, {"seed": 1}, {"draws": 1}])
def test_other_settings_in_the_same_folder_are_refused(demos, tmp_path, other):
    training.train(demos, tmp_path / "out", **FAST | {"steps": 2})
    before = weights(tmp_path / "out")
    (name,) = other
    with pytest.raises(ValueError, match=f"holds a training with .*'{name}'.*, not .*; choose another folder"):
        training.train(demos, tmp_path / "out", **FAST | {"steps": 2} | other)
    assert weights(tmp_path / "out") == before


def test_other_demonstrations_in_the_same_folder_are_refused(demos, tmp_path):
    training.train(demos, tmp_path / "out", **FAST | {"steps": 2})
    write(demos / "toy" / "task00_state12_seed0.safetensors", 3, 5)
    with pytest.raises(ValueError, match="'frames': 12}, not .*'frames': 15}; choose another folder"):
        training.train(demos, tmp_path / "out", **FAST | {"steps": 2})


def test_what_is_left_behind(demos, tmp_path):
    """A checkpoint that loads, with what it was trained on, and the curve."""
    out = tmp_path / "out"
    training.train(demos, out, **FAST)
    policy = load(out)
    facts = {"steps": 6, "step": 6, "batch": 3, "suites": ["toy"], "render": "fast", "demonstrations": 3, "frames": 12}
    facts |= {"initial_states": [10, 11, 49]}  # what a study of it may not begin from
    assert facts.items() <= policy.trained_on.items()
    assert json.loads((out / "config.json").read_text())["trained_on"] == policy.trained_on
    assert policy.config.vocab_size == policy.tokenizer.get_vocab_size() == 8
    assert policy.tokens("close the bowl").min() > 1  # every word is known
    curve = pd.read_csv(out / "curve.csv")
    assert curve["step"].tolist() == [6]
    assert curve[["loss", "validation_loss"]].gt(0).all(None)
    assert not list(out.glob("*.part"))


def test_gradients_are_clipped_to_length_one_and_the_rate_follows_its_schedule(demos, tmp_path, monkeypatch):
    """Of a loss so steep that they all are longer, in the steps as the optimizer takes them."""
    lengths, rates, loss = [], [], training._loss

    def measure(optimizer, *_):
        parts = [p.grad.norm() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        lengths.append(torch.stack(parts).norm().item())
        rates.extend(group["lr"] for group in optimizer.param_groups)

    monkeypatch.setattr(training, "_loss", lambda *arguments: 1000 * loss(*arguments))
    hook = register_optimizer_step_pre_hook(measure)
    try:
        training.train(demos, tmp_path, **FAST | {"steps": 2})
    finally:
        hook.remove()
    assert lengths == pytest.approx([1, 1], rel=1e-3)
    assert rates == [FAST["learning_rate"] * training.schedule(step, 2) for step in range(2)]


def test_a_training_that_diverges_ends_there_and_keeps_what_was_saved(demos, tmp_path, monkeypatch):
    loss, calls = training._loss, []
    monkeypatch.setattr(
        training, "_loss", lambda *a: loss(*a) * (float("nan") if calls.append(1) or len(calls) == 2 else 1)
    )
    with pytest.raises(ValueError, match="the loss is nan at step 2: this training diverged; .* under"):
        training.train(demos, tmp_path / "out", **FAST | {"steps": 2, "save_every": 1})
    assert torch.isfinite(load(tmp_path / "out").model.state_dict()["vision.position"]).all()
    assert load(tmp_path / "out").trained_on["step"] == 1


def test_validation_demonstrations_are_not_trained_on(demos, tmp_path):
    """Other held-out episodes change the validation loss and nothing else."""
    training.train(demos, tmp_path / "a", **FAST | {"steps": 2})
    write(demos / "toy" / "task00_state49_seed0.safetensors", 4, 9)
    training.train(demos, tmp_path / "b", **FAST | {"steps": 2})
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    a, b = (pd.read_csv(tmp_path / name / "curve.csv") for name in "ab")
    assert a["loss"].equals(b["loss"]) and not a["validation_loss"].equals(b["validation_loss"])


def test_the_checkpoint_holds_the_averaged_weights(demos, tmp_path, monkeypatch):
    """The first step's weights, and from then on a thousandth of the new ones; the loss is validated with them."""
    after, validated, save, validate = [], [], training._save_state, training._validate

    def watch(*arguments):
        model, average = arguments[4:6]
        after.append([m.action_out.weight.detach().clone() for m in (model, average.module)])
        save(*arguments)

    def validate_twice(model, *others):
        validated.append(model.action_out.weight.detach().clone())
        once, again = (validate(model, *others) for _ in range(2))
        assert once == again
        return once

    monkeypatch.setattr(training, "_save_state", watch)
    monkeypatch.setattr(training, "_validate", validate_twice)
    training.train(demos, tmp_path, **FAST | {"steps": 3, "save_every": 1})
    expected = after[0][0]
    for new, average in after:
        expected = expected.lerp(new, 0.001)
        torch.testing.assert_close(average, expected, rtol=0, atol=1e-7)
    assert torch.equal(load_file(tmp_path / "model.safetensors")["action_out.weight"], expected.bfloat16())
    assert len(validated) == 1 and torch.equal(validated[0], average)
    assert not torch.equal(new.bfloat16(), expected.bfloat16())


def test_a_folder_without_demonstrations(tmp_path):
    with pytest.raises(ValueError, match="no demonstration files"):
        training.train(tmp_path / "nowhere", tmp_path / "out", **FAST)
    assert not (tmp_path / "out").exists()


def test_training_learns(demos, tmp_path, monkeypatch):
    """The mean loss of the second hundred steps is well below that of the first."""
    losses, loss = [], training._loss

    def noted(*arguments):
        value = loss(*arguments)
        if torch.is_grad_enabled():
            losses.append(value.item())
        return value

    monkeypatch.setattr(training, "_loss", noted)
    training.train(demos, tmp_path, **FAST | {"steps": 200, "save_every": 200, "batch": 8})
    curve = pd.read_csv(tmp_path / "curve.csv")
    assert curve["step"].tolist() == [100, 200]
    assert curve["loss"].tolist() == pytest.approx([sum(losses[:100]) / 100, sum(losses[100:]) / 100], rel=1e-4)
    assert curve["loss"].iloc[1] < 0.8 * curve["loss"].iloc[0]


def test_schedule_warms_up_and_falls_to_nothing():
    rates = [training.schedule(step, 1000) for step in range(1000)]
    assert rates.index(max(rates)) == pytest.approx(training.WARMUP_STEPS, abs=2)
    assert all(a < b for a, b in zip(rates[:150], rates[1:151], strict=True))
    assert all(a > b for a, b in zip(rates[200:-1], rates[201:], strict=True))
    assert 0 < rates[0] < 0.01 and 0 < rates[-1] < 1e-4


def test_the_state_without_jumps(demos, tmp_path, monkeypatch):
    """Eight numbers go in, eleven are normalised by their own statistics."""
    monkeypatch.setitem(PRESETS, "mini", replace(PRESETS["mini"], state_dim=8))
    for seed, number in enumerate((10, 49)):
        write(tmp_path / "eight" / "toy" / f"task00_state{number}_seed0.safetensors", 7, seed, state=8)
    training.train(tmp_path / "eight", tmp_path / "out", **FAST | {"steps": 2}, rotation="6d")
    policy = load(tmp_path / "out")
    assert (policy.config.rotation, policy.config.state_dim, policy.state_dim) == ("6d", 11, 8)
    assert policy.trained_on["rotation"] == "6d" and abs(policy.stats["state_mean"][3:9]).max() <= 1
    with pytest.raises(ValueError, match="rotation 6d is made from LIBERO's state of 8 numbers, got 5"):
        training.train(demos, tmp_path / "five", **FAST, rotation="6d")


def test_a_preset_by_name(demos, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "mini_half", replace(PRESETS["mini"], chunk=3))
    training.train(demos, tmp_path / "out", **FAST | {"steps": 2}, preset="mini_half")
    assert load(tmp_path / "out").config.chunk == 3


def test_finetuning_goes_on_from_a_checkpoint(demos, tmp_path):
    """Its weights, statistics and tokenizer, on other demonstrations; the first has nothing of the second's words."""
    first, other = tmp_path / "first", tmp_path / "other"
    training.train(demos, first, **FAST)
    write(other / "toy" / "task00_state10_seed0.safetensors", 9, 7, "open the microwave")
    training.train(other, tmp_path / "still", **FAST | {"steps": 1, "learning_rate": 0.0}, start=first)
    assert weights(tmp_path / "still") == weights(first)
    training.train(other, tmp_path / "moved", **FAST | {"steps": 2}, start=first)
    assert weights(tmp_path / "moved") != weights(first)
    for name in ("stats.json", "tokenizer.json"):
        assert (tmp_path / "moved" / name).read_bytes() == (first / name).read_bytes()
    told = load(tmp_path / "moved").trained_on
    assert told["started_from"] == load(first).trained_on and told["frames"] == 9
    with pytest.raises(ValueError, match="choose another folder"):
        training.train(other, tmp_path / "moved", **FAST | {"steps": 2})


def test_what_cannot_be_started_from(demos, policy, tmp_path):
    save(policy, tmp_path / "int8", precision=ACTIVATIONS)
    with pytest.raises(ValueError, match="int8 is in int8, which cannot be trained: start from the checkpoint"):
        training.train(demos, tmp_path / "out", **FAST, start=tmp_path / "int8")
    with pytest.raises(ValueError, match="int8 has its own sizes and its own rotation: leave preset and rotation out"):
        training.train(demos, tmp_path / "out", **FAST, start=tmp_path / "int8", rotation="6d")
