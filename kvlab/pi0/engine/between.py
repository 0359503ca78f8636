"""Triton kernels that stand between the large products of many rows, and what they share with `kernels.layers`.

Sums are taken in float32. Rows stand one after another; D is a head's width, and all heads share one head of keys and
values. What programs may have written for each other is read past the first-level cache (`.cg`), which is not kept
coherent.
"""

import triton
import triton.language as tl


@triton.jit
def add_norm(
    x, added, sizes, bias, scale, shift, h, unit,
    W: tl.constexpr, BLOCK: tl.constexpr, HAS_SIZES: tl.constexpr, HAS_BIAS: tl.constexpr, SHIFTED: tl.constexpr,
    CENTRED: tl.constexpr, FRESH: tl.constexpr,
):  # fmt: skip
    """`x` += the rows of `added` times their `sizes`, + bias; and `h`, the norm of the result times scale, plus shift,
    all divided by `unit`. Grid (rows,).

    FRESH begins `x` at zero. The norm is that of RMS or, CENTRED, that of a layer norm. BLOCK is W, or the next power
    of two.
    """
    row, n = tl.program_id(0), tl.arange(0, BLOCK)
    there = n < W
    y = tl.load(added + row * W + n, mask=there, other=0.0).to(tl.float32)
    if HAS_SIZES:
        y *= tl.load(sizes + row)
    if HAS_BIAS:
        y += tl.load(bias + n, mask=there, other=0.0)
    if not FRESH:
        y += tl.load(x + row * W + n, mask=there, other=0.0)
    tl.store(x + row * W + n, y, mask=there)
    if CENTRED:
        y = tl.where(there, y - tl.sum(y, 0) / W, 0.0)
    y = y * tl.rsqrt(tl.sum(y * y, 0) / W + 1e-6) * tl.load(scale + n, mask=there, other=0.0)
    if SHIFTED:
        y += tl.load(shift + n, mask=there, other=0.0)
    tl.store(h + row * W + n, (y / unit).to(h.dtype.element_ty), mask=there)


@triton.jit
def add_norm_row(
    x, parts, bias, gate, scale, shift, h, row, R,
    PARTS: tl.constexpr, W: tl.constexpr, BLOCK: tl.constexpr, HAS_BIAS: tl.constexpr, GATED: tl.constexpr,
    SHIFTED: tl.constexpr, CENTRED: tl.constexpr, FRESH: tl.constexpr,
):  # fmt: skip
    """As `add_norm` for one row of several programs' work, with `parts` to be summed and a gate on what is added."""
    n = tl.arange(0, BLOCK)
    there = n < W
    added = tl.zeros((BLOCK,), tl.float32)
    for part in tl.static_range(PARTS):
        one = tl.load(parts + (part * R + row) * W + n, mask=there, other=0.0, cache_modifier=".cg")
        added += one.to(tl.float32)
    if HAS_BIAS:
        added += tl.load(bias + n, mask=there, other=0.0)
    if GATED:
        added *= tl.load(gate + n, mask=there, other=0.0)
    if not FRESH:
        added += tl.load(x + row * W + n, mask=there, other=0.0, cache_modifier=".cg")
    tl.store(x + row * W + n, added, mask=there)
    if CENTRED:
        added = tl.where(there, added - tl.sum(added, 0) / W, 0.0)
    y = added * tl.rsqrt(tl.sum(added * added, 0) / W + 1e-6) * tl.load(scale + n, mask=there, other=0.0)
    if SHIFTED:
        y += tl.load(shift + n, mask=there, other=0.0)
    tl.store(h + row * W + n, y.to(h.dtype.element_ty), mask=there)


@triton.jit
def rotate(qkv, cos, sin, queries, keys, values, HEADS: tl.constexpr, D: tl.constexpr):
    """Queries and keys (both rotated) and values, from the heads side by side in `qkv`. Grid (rows, HEADS + 2)."""
    row, head, n = tl.program_id(0), tl.program_id(1), tl.arange(0, D // 2)
    a = tl.load(qkv + (row * (HEADS + 2) + head) * D + n).to(tl.float32)
    b = tl.load(qkv + (row * (HEADS + 2) + head) * D + D // 2 + n).to(tl.float32)
    if head <= HEADS:  # values are not rotated
        c, s = tl.load(cos + row * (D // 2) + n), tl.load(sin + row * (D // 2) + n)
        a, b = a * c - b * s, b * c + a * s
    out = queries + (row * HEADS + head) * D
    if head == HEADS:
        out = keys + row * D
    if head == HEADS + 1:
        out = values + row * D
    tl.store(out + n, a.to(out.dtype.element_ty))
    tl.store(out + D // 2 + n, b.to(out.dtype.element_ty))


@triton.jit
def gate(both, out, N: tl.constexpr, BN: tl.constexpr):
    """gelu(gate) * up, of rows that hold the gate's N numbers and then those of up. Grid (rows, N / BN)."""
    row, n = tl.program_id(0), tl.program_id(1) * BN + tl.arange(0, BN)
    a = tl.load(both + row * 2 * N + n).to(tl.float32)
    b = tl.load(both + row * 2 * N + N + n).to(tl.float32)
    tl.store(out + row * N + n, (b * gelu(a)).to(out.dtype.element_ty))


@triton.jit
def gelu(x):
    """Its tanh form: x times the sigmoid of twice the argument of tanh."""
    return x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
