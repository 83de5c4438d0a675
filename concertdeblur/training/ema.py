"""Exponential moving average of weights; the average is what is evaluated and shipped."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class Ema(Generic[Network]):
    """Keeps `module`, an average of the weights of `source` over about 1 / (1 - decay) steps."""

    def __init__(self, source: Network, *, decay: float) -> None:
        self.module = copy.deepcopy(source).requires_grad_(False).eval()
        self._source = source
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the source's present weights; early averages are shorter, so that the start is forgotten."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for average, value in zip(self.module.parameters(), self._source.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
