"""The Triton kernel `layers`: whole layers over few rows (at most 64: a chunk, the state token, a short prompt).

So few rows make every product a question of how fast weights arrive, and every kernel's start and end a loss. It is
therefore one kernel, one program a multiprocessor; its programs meet between phases (`_meet`) and ask there for the
weights of later ones. Tried without gain: no phases for sums, which whoever comes last with a tile takes instead (five
phases a layer in place of eight). Its wait and its work alone took longer, 7.5 ms in place of 6.4 for ten steps.

Sums are taken in a fixed order in float32, so the same inputs give the same bits. Rows stand one after another; weights
are as `torch.nn.Linear` holds them, (out, in); D is a head's width, and all heads share one head of keys and values.
What programs write for each other is read past the first-level cache (`.cg`), which is not kept coherent.
"""

import triton
import triton.language as tl

from kvlab.pi0.engine.between import add_norm_row, gelu


@triton.jit(do_not_specialize=["STEPS"])  # one kernel for every number of them
def layers(
    mixed, entered, trail, w_in, b_in, w_out, b_out, w_time, b_time,
    base, offsets, scales, shifts, gates, between, cos, sin,
    x, h, queries, keys, values, far, sums, tops, shares, attended, inner, parts, met, R, KEPT, scale, ratio, STEPS,
    A: tl.constexpr, BA: tl.constexpr, TIMED: tl.constexpr, ADAPTIVE: tl.constexpr,
    STATE: tl.constexpr, DEPTH: tl.constexpr, READ: tl.constexpr, W: tl.constexpr, BLOCK: tl.constexpr,
    HEADS: tl.constexpr, D: tl.constexpr, MLP: tl.constexpr, OUT_PARTS: tl.constexpr, DOWN_PARTS: tl.constexpr,
    BM: tl.constexpr, BQ: tl.constexpr, BT: tl.constexpr, BLOCKS: tl.constexpr, BN: tl.constexpr, BH: tl.constexpr,
    BU: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """DEPTH layers over R rows, which attend to themselves and to KEPT more tokens. Grid (PROGRAMS,), cooperative.

    Without READ the rows are `mixed`, and their keys and values are what is wanted; STEPS is 1. With READ the last
    layer's normed output is left in `h`, and the rows are actions: `trail` holds the noise first, and then what each of
    STEPS Euler steps makes of it. TIMED (Pi0) mixes the step's time into the actions by a further product;
    ADAPTIVE (Pi0.5) has norms of each step, `between` numbers apart. With STATE one more row, `entered`, goes through
    the first step, and sees no action: the first of the KEPT tokens. `base` + `offsets` are the layers' weights (qkv,
    out, gate and up, down), `far` the distance of one layer's keys from the next's, and `met` a zero.
    """
    target = 0
    for step in range(STEPS):
        norm, rows = step * between, R
        if STATE:
            rows = tl.where(step == 0, R + 1, R)
        if READ:
            if step > 0:
                target = _meet(met, target, base, 0, PROGRAMS)
                _linear(h, w_out, parts, R, A, W, 1, BM, BA, BK, STAGES, PROGRAMS)
            target = _meet(met, target, base, 0, PROGRAMS)
            _enter(parts, b_out, trail, w_in, b_in, mixed, step, ratio, R, A, BA, W, BN, BM, TIMED, False, PROGRAMS)
            target = _meet(met, target, base, 0, PROGRAMS)
        if TIMED:
            _linear(mixed, w_time, parts, rows, W, W, OUT_PARTS, BM, BN, BK, STAGES, PROGRAMS)
            target = _meet(met, target, base, 0, PROGRAMS)
        for row in range(_program(PROGRAMS), R, PROGRAMS):
            if TIMED:
                add_norm_row(
                    x, parts, b_time, gates, scales + norm, shifts + norm, h, row, rows,
                    OUT_PARTS, W, BLOCK, True, False, ADAPTIVE, False, True,
                )  # fmt: skip
            else:
                add_norm_row(
                    x, mixed, b_time, gates, scales + norm, shifts + norm, h, row, rows,
                    1, W, BLOCK, False, False, ADAPTIVE, False, True,
                )  # fmt: skip
        if STATE:
            for row in range(R + _program(PROGRAMS), rows, PROGRAMS):
                add_norm_row(
                    x, entered - row * W, b_time, gates, scales + norm, shifts + norm, h, row, rows,
                    1, W, BLOCK, False, False, ADAPTIVE, False, True,
                )  # fmt: skip
        for layer in range(DEPTH):
            norm += W
            qkv = base + tl.multiple_of(tl.load(offsets + layer * 4), 64)
            out = base + tl.multiple_of(tl.load(offsets + layer * 4 + 1), 64)
            up = base + tl.multiple_of(tl.load(offsets + layer * 4 + 2), 64)
            down = base + tl.multiple_of(tl.load(offsets + layer * 4 + 3), 64)
            later = base + tl.load(offsets + (layer + 1) % DEPTH * 4)
            after = base + tl.load(offsets + (layer + 1) % DEPTH * 4 + 1)
            own_keys, own_values = keys + layer * far, values + layer * far
            target = _meet(met, target, base, 0, PROGRAMS)
            _project(h, qkv, cos, sin, queries, own_keys, own_values, rows, W, HEADS, D, BM, BH, BK, STAGES, PROGRAMS)
            if READ or layer + 1 < DEPTH:
                target = _meet(met, target, up, W * MLP, PROGRAMS)
                _attend(
                    queries, own_keys, own_values, sums, tops, shares, rows * HEADS, R + KEPT, R, scale,
                    STATE, HEADS, D, BQ, BT, PROGRAMS,
                )  # fmt: skip
                target = _meet(met, target, up + W * MLP, W * MLP, PROGRAMS)
                _combine(sums, tops, shares, attended, rows * HEADS, tl.cdiv(R + KEPT, BT), D, BLOCKS, PROGRAMS)
                target = _meet(met, target, base, 0, PROGRAMS)
                _linear(attended, out, parts, rows, W, HEADS * D, OUT_PARTS, BM, BN, BK, STAGES, PROGRAMS)
                target = _meet(met, target, down, W * MLP, PROGRAMS)
                for row in range(_program(PROGRAMS), rows, PROGRAMS):
                    add_norm_row(
                        x, parts, b_time, gates + norm, scales + norm, shifts + norm, h, row, rows,
                        OUT_PARTS, W, BLOCK, False, ADAPTIVE, ADAPTIVE, False, False,
                    )  # fmt: skip
                norm += W
                target = _meet(met, target, base, 0, PROGRAMS)
                _gated_up(h, up, inner, rows, W, MLP, BM, BU, BK, STAGES, PROGRAMS)
                target = _meet(met, target, later, W * (HEADS + 2) * D, PROGRAMS)
                _linear(inner, down, parts, rows, W, MLP, DOWN_PARTS, BM, BN, BK, STAGES, PROGRAMS)
                target = _meet(met, target, after, W * HEADS * D, PROGRAMS)
                for row in range(_program(PROGRAMS), rows, PROGRAMS):
                    add_norm_row(
                        x, parts, b_time, gates + norm, scales + norm, shifts + norm, h, row, rows,
                        DOWN_PARTS, W, BLOCK, False, ADAPTIVE, ADAPTIVE, False, False,
                    )  # fmt: skip
    if READ:
        target = _meet(met, target, base, 0, PROGRAMS)
        _linear(h, w_out, parts, R, A, W, 1, BM, BA, BK, STAGES, PROGRAMS)
        target = _meet(met, target, base, 0, PROGRAMS)
        _enter(parts, b_out, trail, w_in, b_in, mixed, STEPS, ratio, R, A, BA, W, BN, BM, TIMED, True, PROGRAMS)


@triton.jit
def _program(PROGRAMS: tl.constexpr):
    """This program's number. The compiler must not know that it stays the same: it would compute every phase's
    addresses ahead of the loop over layers, and hold them in registers that there are not."""
    if PROGRAMS > 1:
        return tl.inline_asm_elementwise("mov.u32 $0, %ctaid.x;", "=r", [], dtype=tl.int32, is_pure=False, pack=1)
    else:
        return tl.program_id(0)


@triton.jit
def _meet(met, target, ahead, COUNT: tl.constexpr, PROGRAMS: tl.constexpr):
    """Wait until every program is here; what any wrote before is seen by all after. Returns how many have met.

    Meanwhile COUNT numbers of 16 bits from `ahead` on are asked for, to come into the second-level cache.
    """
    target += PROGRAMS
    if PROGRAMS > 1:
        SHARE: tl.constexpr = COUNT * 2 // PROGRAMS // 128 * 128  # bytes for each program to ask for
        tl.debug_barrier()
        if SHARE > 0 and COUNT < 2**24:  # more would not fit into the cache
            tl.inline_asm_elementwise(
                """{ .reg .pred p; .reg .u32 t; .reg .u64 a;
                mov.u32 t, %tid.x; setp.ne.u32 p, t, 0; @p bra DONE;
                red.release.gpu.global.add.u32 [$1], 1;
                mov.u32 t, %ctaid.x; mad.wide.u32 a, t, $4, $3; cp.async.bulk.prefetch.L2.global [a], $4;
                LOOP: ld.acquire.gpu.global.u32 t, [$1]; setp.lt.u32 p, t, $2; @p bra LOOP;
                DONE: mov.u32 $0, 0; }""",
                "=r,l,r,l,r", [met.to(tl.int64), target, ahead.to(tl.int64), target * 0 + SHARE],
                dtype=tl.int32, is_pure=False, pack=1,
            )  # fmt: skip
        else:
            tl.inline_asm_elementwise(
                """{ .reg .pred p; .reg .u32 t;
                mov.u32 t, %tid.x; setp.ne.u32 p, t, 0; @p bra DONE;
                red.release.gpu.global.add.u32 [$1], 1;
                LOOP: ld.acquire.gpu.global.u32 t, [$1]; setp.lt.u32 p, t, $2; @p bra LOOP;
                DONE: mov.u32 $0, 0; }""",
                "=r,l,r", [met.to(tl.int64), target], dtype=tl.int32, is_pure=False, pack=1,
            )  # fmt: skip
        tl.debug_barrier()
    return target


@triton.jit
def _enter(
    parts, b_out, trail, w_in, b_in, mixed, step, ratio, R,
    A: tl.constexpr, BA: tl.constexpr, W: tl.constexpr, BN: tl.constexpr, BM: tl.constexpr, TIMED: tl.constexpr,
    LAST: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """The Euler step from the velocity in `parts`, if there was one, and how its actions enter the expert.

    Those of the LAST are the answer, and enter no more.
    """
    m, a, n = tl.arange(0, BM), tl.arange(0, BA), tl.arange(0, BN)
    place, there = m[:, None] * A + a[None, :], (m < R)[:, None] & (a < A)[None, :]
    for tile in range(_program(PROGRAMS), 1 if LAST else W // BN, PROGRAMS):
        before = tl.maximum(step - 1, 0) * R * A
        actions = tl.load(trail + before + place, mask=there, other=0.0, cache_modifier=".cg")
        if step > 0:
            velocity = tl.load(parts + place, mask=there, other=0.0, cache_modifier=".cg")
            actions -= ratio * (velocity + tl.load(b_out + a, mask=a < A, other=0.0)[None, :])
            if tile == 0:
                tl.store(trail + step * R * A + place, actions, mask=there)
        if not LAST:
            column = tile * BN + n
            weights = tl.load(w_in + column[None, :] * A + a[:, None], mask=(a < A)[:, None], other=0.0)
            y = tl.dot(actions.to(weights.dtype), weights) + tl.load(b_in + step * W + column)[None, :]
            if TIMED:
                y *= tl.sigmoid(y)
            tl.store(mixed + m[:, None] * W + column[None, :], y.to(mixed.dtype.element_ty), mask=(m < R)[:, None])


@triton.jit
def _pair(
    h, w, m, first, apart, R, W: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Products of the rows `m` of `h` with BN weight rows from `first` on, and with those `apart` from them."""
    k, j = tl.arange(0, BK), tl.arange(0, 2 * BN)
    row = first + j // 2 + j % 2 * apart  # alternating, so that each pair comes to lie in one thread
    y = tl.zeros((BM, 2 * BN), tl.float32)
    for start in tl.range(0, W, BK, num_stages=STAGES):
        x = tl.load(h + m[:, None] * W + (start + k)[None, :], mask=m[:, None] < R, other=0.0, cache_modifier=".cg")
        y = tl.dot(x, tl.load(w + row[None, :] * W + (start + k)[:, None]), y)
    return tl.split(tl.reshape(y, (BM, BN, 2)))


@triton.jit
def _project(
    h, w, cos, sin, queries, keys, values, R,
    W: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    STAGES: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """Queries and keys (both rotated) and values of the rows of `h`."""
    EACH: tl.constexpr = D // 2 // BN  # tiles of a head
    m = tl.arange(0, BM)
    inside = (m < R)[:, None]
    for tile in range(_program(PROGRAMS), (HEADS + 2) * EACH, PROGRAMS):
        head, column = tile // EACH, tile % EACH * BN + tl.arange(0, BN)
        a, b = _pair(h, w, m, head * D + tile % EACH * BN, D // 2, R, W, BM, BN, BK, STAGES)
        if head <= HEADS:
            turn = m[:, None] * (D // 2) + column[None, :]
            c, s = tl.load(cos + turn, mask=inside, other=0.0), tl.load(sin + turn, mask=inside, other=0.0)
            a, b = a * c - b * s, b * c + a * s
        out, stride = queries + head * D, HEADS * D
        if head == HEADS:
            out, stride = keys, D
        if head == HEADS + 1:
            out, stride = values, D
        place = out + m[:, None] * stride + column[None, :]
        tl.store(place, a.to(out.dtype.element_ty), mask=inside)
        tl.store(place + D // 2, b.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _attend(
    queries, keys, values, sums, tops, shares, ROWS, TOKENS, ACTIONS, scale,
    STATE: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BT: tl.constexpr,
    PROGRAMS: tl.constexpr,
):  # fmt: skip
    """Attention of blocks of queries to blocks of keys, for `_combine`: sums of values, not yet divided, the largest
    score, and the weights' sum. With STATE the row behind the ACTIONS sees none of them."""
    blocks = tl.cdiv(TOKENS, BT)
    d = tl.arange(0, D)
    for tile in range(_program(PROGRAMS), tl.cdiv(ROWS, BM) * blocks, PROGRAMS):
        block = tile % blocks
        m, n = tile // blocks * BM + tl.arange(0, BM), block * BT + tl.arange(0, BT)
        place, there = m[:, None] * D + d[None, :], (m < ROWS)[:, None]
        q = tl.load(queries + place, mask=there, other=0.0, cache_modifier=".cg")
        k = tl.load(keys + n[None, :] * D + d[:, None], mask=(n < TOKENS)[None, :], other=0.0, cache_modifier=".cg")
        v = tl.load(values + n[:, None] * D + d[None, :], mask=(n < TOKENS)[:, None], other=0.0, cache_modifier=".cg")
        seen = (n < TOKENS)[None, :]
        if STATE:
            seen &= (m < ACTIONS * HEADS)[:, None] | (n >= ACTIONS)[None, :]
        score = tl.where(seen, tl.dot(q, k) * scale, float("-inf"))
        top = tl.max(score, 1)
        weight = tl.exp2(score - top[:, None])
        tl.store(sums + block * ROWS * D + place, tl.dot(weight.to(v.dtype), v), mask=there)
        tl.store(tops + block * ROWS + m, top, mask=m < ROWS)
        tl.store(shares + block * ROWS + m, tl.sum(weight, 1), mask=m < ROWS)


@triton.jit
def _combine(
    sums, tops, shares, out, ROWS, blocks, D: tl.constexpr, BLOCKS: tl.constexpr, PROGRAMS: tl.constexpr
):  # fmt: skip
    """The attention of each row from that to its blocks of keys, of which there are at most BLOCKS."""
    MANY: tl.constexpr = 4
    d, every = tl.arange(0, D), tl.arange(0, BLOCKS)
    for tile in range(_program(PROGRAMS), tl.cdiv(ROWS, MANY), PROGRAMS):
        m = tile * MANY + tl.arange(0, MANY)
        inside = m < ROWS
        place, there = every[None, :] * ROWS + m[:, None], inside[:, None] & (every < blocks)[None, :]
        spot = place[:, :, None] * D + d[None, None, :]
        parts = tl.load(sums + spot, mask=there[:, :, None], other=0.0, cache_modifier=".cg")
        top = tl.load(tops + place, mask=there, other=float("-inf"), cache_modifier=".cg")
        most = tl.where(inside, tl.max(top, 1), 0.0)
        share = tl.load(shares + place, mask=there, other=0.0, cache_modifier=".cg")
        total = tl.where(inside, tl.sum(tl.exp2(top - most[:, None]) * share, 1), 1.0)
        answer = tl.sum(parts * tl.exp2(top - most[:, None])[:, :, None], 1)
        answer = (answer / total[:, None]).to(out.dtype.element_ty)
        tl.store(out + m[:, None] * D + d[None, :], answer, mask=inside[:, None])


@triton.jit
def _linear(
    x, w, parts, R, N,
    W: tl.constexpr, PARTS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    STAGES: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """`x` @ `w`.T for N rows of `w`, in PARTS: each the sum over some of the W inputs."""
    SPAN: tl.constexpr = W // PARTS
    m = tl.arange(0, BM)
    tiles = tl.cdiv(N, BN)
    for tile in range(_program(PROGRAMS), tiles * PARTS, PROGRAMS):
        column, part = tile % tiles * BN + tl.arange(0, BN), tile // tiles
        k = part * SPAN + tl.arange(0, BK)
        y = tl.zeros((BM, BN), tl.float32)
        for start in tl.range(0, SPAN, BK, num_stages=STAGES):
            a = tl.load(x + m[:, None] * W + (start + k)[None, :], mask=m[:, None] < R, other=0.0, cache_modifier=".cg")
            b = tl.load(w + column[None, :] * W + (start + k)[:, None], mask=column[None, :] < N, other=0.0)
            y = tl.dot(a, b, y)
        place = (part * R + m)[:, None] * N + column[None, :]
        tl.store(parts + place, y, mask=(m < R)[:, None] & (column < N)[None, :])


@triton.jit
def _gated_up(
    h, w, out, R,
    W: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
    PROGRAMS: tl.constexpr,
):  # fmt: skip
    """gelu(gate) * up, `w` holding the N rows of the gate and then those of up."""
    m = tl.arange(0, BM)
    for tile in range(_program(PROGRAMS), N // BN, PROGRAMS):
        column = tile * BN + tl.arange(0, BN)
        a, b = _pair(h, w, m, tile * BN, N, R, W, BM, BN, BK, STAGES)
        place = out + m[:, None] * N + column[None, :]
        tl.store(place, (b * gelu(a)).to(out.dtype.element_ty), mask=(m < R)[:, None])
