"""ESTRNN (Zhong et al. 2020): a recurrent network for video, whose result looks at two frames before and two after.

A frame takes one step of the cell and one of the head. Both return one tensor, so they can be engines.

Shape suffixes: N frames, C channels, H height, W width, h, w a quarter of them.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.engines import Engine

_NUM_SEEN = 5  # frames behind a result: two before it, its own and two after it
_GROWTHS = 3  # dense layers of a block


@dataclass(frozen=True, kw_only=True, slots=True)
class EstrnnSettings:
    """Size of the network; B9C90, the largest of the paper's table on GOPRO, has 9 blocks of 5 x 18 channels."""

    width: int = 18
    num_blocks: int = 9

    @property
    def num_features(self) -> int:
        """Channels that a cell gives the head."""
        return 5 * self.width


class _DenseBlock(nn.Module):
    """A residual dense block: each 3x3 convolution sees the outputs of all earlier ones, and a 1x1 one joins them."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        widths = [channels + growth * number for number in range(_GROWTHS + 1)]
        self.layers = nn.ModuleList([nn.Conv2d(width, growth, 3, padding=1) for width in widths[:-1]])
        self.join = nn.Conv2d(widths[-1], channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        seen = features
        for layer in self.layers:
            seen = torch.cat([seen, F.gelu(layer(seen))], 1)
        made: Tensor = features + self.join(seen)
        return made


class EstrnnCell(nn.Module):
    """The recurrent cell, of residual dense blocks at a quarter of the resolution."""

    def __init__(self, settings: EstrnnSettings) -> None:
        super().__init__()
        width = settings.width
        self.shrink = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2),
            _DenseBlock(width, width),
            nn.Conv2d(width, 2 * width, 5, stride=2, padding=2),
            _DenseBlock(2 * width, width * 3 // 2),
            nn.Conv2d(2 * width, 4 * width, 5, stride=2, padding=2),
        )
        features = settings.num_features
        self.blocks = nn.ModuleList([_DenseBlock(features, 2 * width) for _ in range(settings.num_blocks)])
        self.join = nn.Sequential(
            nn.Conv2d(settings.num_blocks * features, features, 1), nn.Conv2d(features, features, 3, padding=1)
        )
        self.state = nn.Sequential(
            nn.Conv2d(features, width, 3, padding=1),
            _DenseBlock(width, width),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, frames_NCHW: Tensor, state_NChw: Tensor) -> Tensor:
        """A frame (N, 3, H, W) and the hidden state (N, width, h, w) to features and, after them, the next state.

        The result is (N, 6 x width, h, w).
        """
        features = torch.cat([self.shrink(frames_NCHW), state_NChw], 1)
        made = []
        for block in self.blocks:
            features = block(features)
            made.append(features)
        features = self.join(torch.cat(made, 1))
        return torch.cat([features, self.state(features)], 1)


class EstrnnHead(nn.Module):
    """Global attention over the features of five frames, from which the middle frame is rebuilt."""

    def __init__(self, settings: EstrnnSettings) -> None:
        super().__init__()
        features, width = settings.num_features, settings.width
        pair = 2 * features
        self.weigh = nn.Sequential(nn.Linear(pair, 2 * pair), nn.GELU(), nn.Linear(2 * pair, pair), nn.Sigmoid())
        self.relate = nn.Sequential(nn.Conv2d(pair, 2 * pair, 1), nn.Conv2d(2 * pair, pair, 1))
        self.condense = nn.Conv2d(pair, features, 1)
        self.fuse = nn.Conv2d(_NUM_SEEN * features, _NUM_SEEN * features, 1)
        self.rebuild = nn.Sequential(
            nn.ConvTranspose2d(_NUM_SEEN * features, 2 * width, 3, stride=2, padding=1, output_padding=1),
            nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1),
            nn.Conv2d(width, 3, 5, padding=2),
        )

    def forward(self, *features_NChw: Tensor) -> Tensor:
        """Five times features (N, 5 x width, h, w) to frames (N, 3, H, W)."""
        own = features_NChw[_NUM_SEEN // 2]
        related = []
        for number, other in enumerate(features_NChw):
            if number != _NUM_SEEN // 2:
                pair = torch.cat([own, other], 1)
                weights = self.weigh(pair.mean((2, 3)))[:, :, None, None]
                related.append(self.condense(weights * self.relate(pair)))
        made: Tensor = self.rebuild(self.fuse(torch.cat([*related, own], 1)))
        return made


class Estrnn(nn.Module):
    """Both parts; run over a clip by `EstrnnStream`."""

    multiple_px = 4

    def __init__(self, settings: EstrnnSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or EstrnnSettings()
        self.cell, self.head = EstrnnCell(self.settings), EstrnnHead(self.settings)


class EstrnnStream:
    """Turns a clip's frames into results, two frames later; at the beginning frames are repeated."""

    def __init__(self, settings: EstrnnSettings, cell: Engine, head: Engine) -> None:
        self._settings, self._cell, self._head = settings, cell, head
        self._seen: deque[Tensor] = deque(maxlen=_NUM_SEEN)
        self._state: Tensor | None = None

    def __call__(self, frame_1CHW: Tensor) -> Tensor:
        """Take one more frame (1, 3, H, W) with H and W multiples of 4; gives (1, 3, H, W)."""
        height, width = (length // 4 for length in frame_1CHW.shape[2:])
        if self._state is None:
            self._state = frame_1CHW.new_zeros(1, self._settings.width, height, width)
        made = self._cell(frame_1CHW, self._state)
        features, self._state = torch.split(made, [self._settings.num_features, self._settings.width], 1)
        self._seen.append(features)
        while len(self._seen) < _NUM_SEEN:
            self._seen.appendleft(self._seen[0])
        return self._head(*self._seen)
