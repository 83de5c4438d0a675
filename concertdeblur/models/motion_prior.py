"""What motion says about blur: a picture that moves is blurred along its motion.

After noise and compression the spectrum of a short line looks like that of soft content. In a video the motion is
known, though: the blur of what moves is a line along its velocity. The line is as long as the way it goes while the
shutter is open, and how long that is is not known. So every line kernel of the bank gets a bonus that depends on its
angle and length relative to the velocity. The bonus is learned, and it also depends on the embedding of the spectrum.

Shape suffixes: M cells, L lines of the bank, K filters of the bank, E embedding, T features, S noise-to-signal ratios.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.models.kernel_bank import NOISE_TO_SIGNAL, kernel_bank

_HIDDEN = 24
_LEAST_PX = 0.05  # smaller velocities count as this one
_NUM_LINE_FEATURES, _NUM_OTHER_FEATURES = 6, 3


class MotionPrior(nn.Module):
    """Velocities of cells, px a frame -> a bonus for the logits of their filters, and a factor of these logits.

    A velocity and its opposite give the same answer. The weights of the last layers start at zero, so before training
    the bonus is 0 and the factor 1.
    """

    line_angles_L: Tensor
    line_lengths_L: Tensor
    is_line: Tensor

    def __init__(self, embedding_width: int) -> None:
        super().__init__()
        bank = kernel_bank()
        lines = [kernel for kernel in bank if kernel.angle_deg is not None]
        angles = [math.radians(kernel.angle_deg or 0.0) for kernel in lines]
        self.register_buffer("line_angles_L", torch.tensor(angles), persistent=False)
        self.register_buffer("line_lengths_L", torch.tensor([float(k.size) for k in lines]), persistent=False)
        self.register_buffer("is_line", torch.tensor([k.angle_deg is not None for k in bank]), persistent=False)
        num_steps = len(NOISE_TO_SIGNAL)
        self.line_first = nn.Linear(_NUM_LINE_FEATURES, _HIDDEN)
        self.line_second = nn.Linear(_HIDDEN, _HIDDEN)
        self.line_last = nn.Linear(_HIDDEN, num_steps)
        self.gate = nn.Linear(embedding_width, _HIDDEN)
        self.other_first = nn.Linear(_NUM_OTHER_FEATURES, _HIDDEN)
        self.other_last = nn.Linear(_HIDDEN, num_steps * (len(bank) - len(lines)))
        self.scale = nn.Parameter(torch.zeros(1))
        for layer in (self.line_last, self.gate, self.other_last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, velocities_M3: Tensor, embedding_ME: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the bonus (M, K) and the factor (M, 1) of cells with (x, y, known); 0 and 1 where nothing is known."""
        known_M1 = velocities_M3[:, 2:]
        speed_M1 = velocities_M3[:, :2].norm(dim=1, keepdim=True).clamp_min(_LEAST_PX)
        lines_MLT = self._line_features(velocities_M3, speed_M1)
        hidden = F.silu(self.line_second(F.silu(self.line_first(lines_MLT))))
        of_lines = self.line_last(hidden * (1 + self.gate(embedding_ME))[:, None])
        others_MT = torch.cat([speed_M1.log(), speed_M1.clamp(0, 1), speed_M1 / (speed_M1 + 5)], 1)
        of_others = self.other_last(F.silu(self.other_first(others_MT)))
        bonus = embedding_ME.new_zeros(len(velocities_M3), len(self.is_line), len(NOISE_TO_SIGNAL))
        bonus[:, self.is_line] = of_lines
        bonus[:, ~self.is_line] = of_others.view(len(velocities_M3), -1, len(NOISE_TO_SIGNAL))
        return bonus.flatten(1) * known_M1, 1 + self.scale * known_M1

    def _line_features(self, velocities_M3: Tensor, speed_M1: Tensor) -> Tensor:
        """The angle and length of each line relative to each velocity, as features (M, L, T)."""
        angle_M1 = torch.atan2(-velocities_M3[:, 1:2], velocities_M3[:, :1])  # y points down
        between = self.line_angles_L - angle_M1
        beside = (self.line_lengths_L * between.sin()).abs()
        along = (self.line_lengths_L * between.cos()).abs()
        speed = speed_M1.expand_as(beside)
        length = self.line_lengths_L.expand_as(beside)
        features = (
            torch.log1p(beside), beside / length, torch.log(along / speed + 0.02),
            speed.log(), length.log(), torch.relu(along - speed).log1p(),
        )  # fmt: skip
        return torch.stack(features, 2)
