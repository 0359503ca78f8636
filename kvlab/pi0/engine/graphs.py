"""Recorded CUDA graphs by name: made at the first call, replayed from then on."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

MOST = 64  # graphs that are kept; the one that was not used for longest goes first


class Graphs:
    """Runs functions of tensors, on a GPU from a graph. On a CPU they run as they come."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if self._cuda else None
        self._made: OrderedDict[Hashable, tuple] = OrderedDict()

    def __call__(self, name: Hashable, build: Callable[[], Callable[..., Tensor]], *inputs: Tensor) -> Tensor:
        """What `build()(*inputs)` writes. `name` stands for all else that the function depends on.

        The answer is the function's own buffer, which the next call of that name overwrites.
        """
        if not self._cuda:
            return build()(*inputs)
        if name not in self._made:
            self._made[name] = self._record(build(), inputs)
            if len(self._made) > MOST:
                self._made.popitem(last=False)
        self._made.move_to_end(name)
        graph, _, own, answer = self._made[name]
        for mine, given in zip(own, inputs, strict=True):
            mine.copy_(given)
        graph.replay()
        return answer

    def _record(self, run: Callable[..., Tensor], inputs: tuple[Tensor, ...]):
        own = [x.clone() for x in inputs]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # what is set up at a first call (kernels, handles) is no part of a graph
            run(*own)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            answer = run(*own)
        return graph, run, own, answer  # what `run` refers to is read by the graph
