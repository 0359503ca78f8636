"""Policies in int8: whole numbers are multiplied exactly, whatever does it, and checkpoints say what they are."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kvlab.numerics import NUMERICS
from kvlab.pi0 import int8, load, save
from kvlab.pi0.int8 import ACTIVATIONS, MOST_INPUTS, PRECISIONS, WEIGHTS, Int8Linear
from kvlab.pi0.portable import Layer, Product, _replace
from kvlab.sim.workers import by_task
from tamper import edit, edit_weights

BITS = """(
    lambda torch, layer: (torch.manual_seed(0), layer(torch.nn.Linear(768, 256)).requires_grad_(False))[1](
        torch.randn(2, 40, 768)).numpy().tobytes()
)(__import__('torch'), __import__('kvlab.pi0.int8', fromlist=['x']).Int8Linear)"""


@pytest.fixture
def saved(policy, tmp_path):
    def write(precision: str):
        save(policy, tmp_path / "int8", precision=precision)
        return tmp_path / "int8"

    return write


@pytest.mark.parametrize("by_torch", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_multiplies_whole_numbers_exactly(by_torch, bias, monkeypatch):
    """In 64 bits by numpy, for rows whose numbers are of very different size, one of them 0."""
    if by_torch and not int8.has_exact_products():
        pytest.skip("this processor has no VNNI, so torch does not multiply int8 exactly")
    monkeypatch.setattr(int8, "has_exact_products", lambda: by_torch)
    torch.manual_seed(0)
    layer = torch.nn.Linear(MOST_INPUTS, 24, bias).requires_grad_(False)
    x = torch.randn(2, 3, MOST_INPUTS) * torch.tensor([1e-3, 1, 0])[:, None]
    x[0, 1] = layer.weight[0].sign()  # the largest sum that there is
    ours = Int8Linear(layer)
    weight, largest = ours.weight.numpy().astype(np.int64), x.abs().amax(-1, keepdim=True).numpy()
    scale = np.maximum(largest, np.finfo(np.float32).tiny) / np.float32(127)
    whole = np.round(x.numpy() / scale).astype(np.int64)
    product = (whole @ weight.T).astype(np.float32) * scale * ours.weight_scale.numpy()
    assert np.abs(whole).max() == np.abs(weight).max() == 127
    assert np.array_equal(ours(x).numpy(), product + layer.bias.numpy() if bias else product)
    half_steps = 0.5 * (np.abs(whole).sum(-1, keepdims=True) + np.abs(weight).sum(-1) + MOST_INPUTS / 2)
    assert (np.abs((ours(x) - layer(x)).numpy()) <= 1.001 * half_steps * scale * ours.weight_scale.numpy() + 1e-6).all()


def test_bits_are_the_same_with_portable_and_native_numerics():
    asked = (by_task(eval, [(0, [(BITS,)])], 1, "asking", "job", numerics=kind) for kind in NUMERICS)
    assert len({bits for (bits,) in asked}) == 1


def test_loading_leaves_torchs_compiler_alone(saved):
    """It takes longer to import than a policy to load."""
    load_it = f"import sys; from kvlab.pi0 import load; load({str(saved(ACTIVATIONS))!r}); "
    assert subprocess.run([sys.executable, "-c", load_it + "sys.exit('torch._dynamo' in sys.modules)"]).returncode == 0


def test_a_wider_layer_is_refused():
    with pytest.raises(ValueError, match="int8 takes layers of at most 1040 inputs; this one has 1041"):
        Int8Linear(torch.nn.Linear(1041, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_in_int8_are_floats_again_when_loaded(policy, saved, dtype):
    folder = saved(WEIGHTS)
    stored, loaded, was = load_file(folder / "model.safetensors"), load(folder, dtype=dtype).model, policy.model
    assert {p.dtype for p in loaded.parameters()} == {dtype}
    assert loaded.state_dict().keys() == was.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        if f"{name}_scale" in stored:
            scale = stored[f"{name}_scale"][:, None]
            assert torch.equal(tensor, (stored[name] * scale).to(dtype))
            if dtype == torch.float32:
                assert ((tensor - was.state_dict()[name]).abs() <= 0.5001 * scale).all()
        else:
            assert torch.equal(tensor, was.state_dict()[name].bfloat16().to(dtype))
    in_int8 = {name for name, tensor in stored.items() if tensor.dtype == torch.int8}
    assert {n.rsplit(".", 2)[1] for n in in_int8} == {"qkv", "out", "up", "gate_up", "down"}
    assert len(in_int8) == 4 * (1 + 3 + 3)  # of one image block and three layers of each stream


def test_with_activations_the_model_computes_in_int8_near_that_in_floats(policy, saved):
    rounded, model = load(saved(ACTIVATIONS)).model, policy.model.float()
    assert sum(isinstance(module, Int8Linear) for module in rounded.modules()) == 4 * (1 + 3 + 3)
    torch.manual_seed(0)
    seen = torch.randn(2, 3, 16, 16), torch.tensor([[1, 2]]), torch.randn(1, 5), torch.randn(1, 4, 3)
    chunk, expected = rounded.sample_actions(*seen), model.sample_actions(*seen)
    error = (chunk - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert 0 < error < 0.05
    _replace(rounded)  # by portable numerics: what is not in int8 by numpy
    assert not any(isinstance(module, Layer) for module in rounded.modules())
    assert isinstance(rounded.action_in, Product) and isinstance(rounded.prefix[0].qkv, Int8Linear)
    with torch.inference_mode():
        assert torch.allclose(rounded.sample_actions(*seen), chunk, atol=0.02)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_saving_leaves_the_policy_and_writes_the_same_bytes_again(policy, tmp_path, precision):
    before = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    for name in ("one", "two"):
        save(policy, tmp_path / name, precision=precision)
    assert policy.model.state_dict().keys() == before.keys()
    assert all(torch.equal(policy.model.state_dict()[name], tensor) for name, tensor in before.items())
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_int8_activations_where_they_cannot_be_computed(saved):
    told = "has int8 weights and activations, which kvlab computes on a CPU alone, the rest in float32; asked for is "
    with pytest.raises(ValueError, match=f"{told}bfloat16 on cpu: take the device cpu, or quantize without"):
        load(saved(ACTIVATIONS), dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=f"{told}float32 on meta"):
        load(saved(ACTIVATIONS), device="meta")


def test_a_precision_that_is_unknown_or_not_that_of_the_weights(saved):
    folder = saved(WEIGHTS)
    edit(folder / "config.json", lambda config: config.update(precision="int4"))
    with pytest.raises(ValueError, match="precision should be int8 weights or int8 weights and .*, got 'int4'"):
        load(folder)
    edit(folder / "config.json", lambda config: config.pop("precision"))
    with pytest.raises(ValueError, match=r"unexpected: .*weight_scale.*of another kind of numbers: .* \(I8\)"):
        load(folder)
    folder = saved(WEIGHTS)
    name = "expert.0.down.weight"
    edit_weights(folder / "model.safetensors", lambda t: t.update({name: t[name].bfloat16()}))
    with pytest.raises(ValueError, match=rf"of another kind of numbers: {name} \(BF16\)$"):
        load(folder)


def test_what_is_in_int8_is_not_rounded_again(saved, tmp_path):
    with pytest.raises(ValueError, match="is in int8: copy its folder, or take the checkpoint that it was made"):
        save(load(saved(ACTIVATIONS)), tmp_path / "again", precision=WEIGHTS)
