"""Inference by products of numpy: the model's answers to rounding, and the same bits in every process."""

import pytest
import torch

from kvlab.pi0.layers import GemmaLayer, rope
from kvlab.pi0.portable import Layer, Product, attend, portable


def test_a_product_is_a_linear_layer():
    torch.manual_seed(0)
    for bias in (True, False):
        layer, x = torch.nn.Linear(40, 24, bias).requires_grad_(False), torch.randn(2, 5, 40)
        expected, weight = layer(x), layer.weight.clone()
        assert torch.allclose(Product(layer)(x), expected, atol=1e-6)
        assert torch.equal(Product(layer).weight, weight)


def test_attention_is_torchs():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 7, 8), torch.randn(2, 3, 9, 8), torch.randn(2, 3, 9, 8)
    seen = torch.rand(2, 1, 1, 9) < 0.7
    plain = torch.nn.functional.scaled_dot_product_attention
    assert torch.allclose(attend(q, k, v), plain(q, k, v), atol=1e-6)
    assert torch.allclose(attend(q, k, v, seen), plain(q, k, v, attn_mask=seen), atol=1e-6)


@pytest.mark.parametrize("rows", [1, 4])
def test_a_layer_is_gemmas(model, rows):
    """Behind keys and values of others, some of which are padding; and alone."""
    layer = model.expert[0].float()
    x, by = torch.randn(2, rows, 24), rope(torch.arange(9, 9 + rows).expand(2, -1), 8, torch.float32)
    past, seen = (torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)), torch.rand(2, 1, 1, 9 + rows) < 0.7
    calls = [(x, by, past, seen), (x, by, past), (x, by)]
    expected, kept = [layer(*call) for call in calls], layer.keys_values(x, by)
    asked = layer.queries(x, by)
    attended = layer.weights(asked[:1], past[0][:1])
    ours = Layer(layer)
    for call, those in zip(calls, expected, strict=True):
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours(*call), those, strict=True))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours.keys_values(x, by), kept, strict=True))
    assert torch.allclose(ours.queries(x, by), asked, atol=1e-5)
    assert torch.allclose(ours.weights(asked[:1], past[0][:1]), attended, atol=1e-6)


def test_a_layer_does_all_that_gemmas_does():
    assert {name for name in vars(GemmaLayer) if not name.startswith("_")} <= {*dir(Layer)}


def test_only_where_it_can_be_portable(policy):
    with pytest.raises(ValueError, match="float32 on a CPU; this model is torch.float64 on cpu"):
        portable(policy)
    policy.model.float()
    with pytest.raises(RuntimeError, match="was not started with portable numerics"):
        portable(policy)
