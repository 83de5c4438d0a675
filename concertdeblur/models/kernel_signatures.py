"""How alike the spectrum of a cell and those of known kernels are: a matched filter for each kernel of the bank.

A kernel stands in the log spectrum of what it blurred as a pattern added to that of the picture: lines and boxes as
valleys where their transfer functions are zero. The picture's own spectrum is smooth; less its surroundings, little
is left of it. Without these likenesses the embedding has to learn the patterns of the whole bank from samples: after
1,500 training steps from scratch it chose filters for lines that missed the best one by 7 to 10 dB.

Shape suffixes: M cells, C channels of the descriptor, H and F frequencies along y and x, K kernels of the bank, E
embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.models.kernel_bank import kernel_bank
from concertdeblur.models.spectrum import HANN_PX

_LEAST_POWER = 1e-3  # of a transfer function: rounding and noise fill its zeros
_SURROUNDINGS = 9  # frequencies; valleys of the longest line are 3 apart


class KernelSignatures(nn.Module):
    """Spectrum descriptors -> what is added to their embeddings.

    The weights that lead out start at zero: untrained, it says nothing.
    """

    signatures_KHF: Tensor

    def __init__(self, embedding_width: int) -> None:
        super().__init__()
        along_y = torch.arange(-(HANN_PX // 2), HANN_PX // 2)[:, None] / HANN_PX
        along_x = torch.arange(HANN_PX // 2 + 1)[None, :] / HANN_PX
        powers = torch.stack([kernel.at(along_y, along_x).square() for kernel in kernel_bank()])
        self.register_buffer("signatures_KHF", _fine_structure((powers + _LEAST_POWER).log()), persistent=False)
        self.norm = nn.LayerNorm(2 * len(powers))
        self.out = nn.Linear(2 * len(powers), embedding_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, described_MCHF: Tensor) -> Tensor:
        """(M, 2, 64, 33) -> (M, E)."""
        added: Tensor = self.out(self.norm(self.likeness(described_MCHF).flatten(1)))
        return added

    def likeness(self, described_MCHF: Tensor) -> Tensor:
        """Cosine between the fine structure of each channel and that of each kernel, (M, C, K)."""
        return _fine_structure(described_MCHF).flatten(2) @ self.signatures_KHF.flatten(1).T


def _fine_structure(spectra: Tensor) -> Tensor:
    """What differs from the surroundings, (..., H, F), as vectors of length 1; all 0 where nothing does."""
    margin = _SURROUNDINGS // 2
    planes = spectra.flatten(0, -3)[:, None]
    around = F.avg_pool2d(F.pad(planes, (margin,) * 4, mode="reflect"), _SURROUNDINGS, stride=1)
    fine = (planes - around).view_as(spectra)
    return fine / fine.square().sum((-2, -1), keepdim=True).sqrt().clamp_min(1e-6)
