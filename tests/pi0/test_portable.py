"""Inference by products of numpy: the model's answers to rounding, and the same bits in every process."""

import pytest
import torch

from kvlab.pi0.portable import Product, attend, portable


def test_a_product_is_a_linear_layer():
    torch.manual_seed(0)
    for bias in (True, False):
        layer, x = torch.nn.Linear(40, 24, bias), torch.randn(2, 5, 40)
        assert torch.allclose(Product(layer)(x), layer(x), atol=1e-6)
        assert torch.equal(Product(layer).weight, layer.weight)


def test_attention_is_torchs():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 7, 8), torch.randn(2, 3, 9, 8), torch.randn(2, 3, 9, 8)
    seen = torch.rand(2, 1, 1, 9) < 0.7
    plain = torch.nn.functional.scaled_dot_product_attention
    assert torch.allclose(attend(q, k, v), plain(q, k, v), atol=1e-6)
    assert torch.allclose(attend(q, k, v, seen), plain(q, k, v, attn_mask=seen), atol=1e-6)


def test_only_where_it_can_be_portable(policy):
    with pytest.raises(ValueError, match="float32 on a CPU; this model is torch.float64 on cpu"):
        portable(policy)
    policy.model.float()
    with pytest.raises(RuntimeError, match="was not started with portable numerics"):
        portable(policy)
