"""The denoising loop, with all that depends on the step alone computed once."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kvlab.pi0.engine.few import FewRows, Loop
from kvlab.pi0.engine.norms import Norms, floats
from kvlab.pi0.engine.sizes import FEW, Rope, View, rope_rows
from kvlab.pi0.model import Pi0


class Denoising:
    """`Pi0.denoise` in so many steps from time `start` on after what is kept in `view`.

    Actions enter the expert by one matrix: in Pi0 the one that embeds them and the one that mixes in the time are
    multiplied beforehand, and what the time adds is a vector of each step. In Pi0.5 the time sets the norms instead.
    """

    def __init__(self, model: Pi0, view: View, steps: int, start: float = 1.0):
        c, weight = model.config, model.action_out.weight
        self._chunk, self._head_dim = c.chunk, c.expert.head_dim
        times = torch.tensor([start * (1 - step / steps) for step in range(steps)], device=weight.device)
        clocks, (w_in, b_in), w_time, b_time = model._clock(times).float(), floats(model.action_in), None, None
        if c.pi05:
            condition = F.silu(F.linear(F.silu(F.linear(clocks, *floats(model.time_in))), *floats(model.time_out)))
            self.norms = Norms.adaptive(model.expert, model.expert_norm, condition)
            b_in = b_in.expand(len(clocks), -1)
        else:
            self.norms = Norms.plain(model.expert, model.expert_norm)
            mix, bias = floats(model.time_in)
            of_actions, of_time = mix.split(c.expert.width, dim=1)
            b_in = F.linear(clocks, of_time, bias) + of_actions @ b_in
            w_in, w_time, b_time = of_actions @ w_in, model.time_out.weight, model.time_out.bias.detach().float()
        trail = torch.empty(len(clocks) + 1, c.chunk, c.action_dim, device=weight.device)
        b_out = model.action_out.bias.detach().float()
        w_in, b_in = w_in.to(weight.dtype), b_in.contiguous()
        self._loop = Loop(trail, w_in, b_in, weight, b_out, w_time, b_time, start / steps)
        mixed = torch.float32 if c.pi05 else weight.dtype
        rows = min(c.chunk + (not c.pi05), FEW)
        self._mixed = torch.zeros(rows, c.expert.width, device=weight.device, dtype=mixed)
        self._rows = FewRows(model.expert, c.expert, self.norms, rows, view)
        self._state_in = None if c.pi05 or rows == c.chunk else model.state_in

    @property
    def takes_state(self) -> bool:
        """Whether the state may come with the noise: there is one, and a row for it."""
        return self._state_in is not None

    def after(self, kept: int) -> Callable[..., Float[Tensor, "steps chunk action"]]:
        """The loop for a chunk after `kept` tokens: from noise (1, chunk, action) to the actions at each step.

        Where a state (1, state) is given too, its token is the last of those kept, and computed in the first step.
        """
        places = torch.arange(kept - 1, kept + self._chunk, device=self._mixed.device).roll(-1)
        return partial(self._run, kept, rope_rows(places, self._head_dim))

    def _run(self, kept: int, by: Rope, noise: Tensor, state: Tensor | None = None) -> Tensor:
        self._loop.trail[0] = noise[0]
        entered = None if state is None else F.linear(state, self._state_in.weight, self._state_in.bias)
        self._rows.run(self._mixed, kept, by, loop=self._loop, state=entered)
        return self._loop.trail[1:]
