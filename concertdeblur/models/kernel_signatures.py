"""How alike a cell's spectrum and the spectrum of each kernel of the bank are: a matched filter for each kernel.

The log spectrum of a blurred picture is that of the sharp picture plus that of the kernel. A line or a box leaves
valleys in it, where its transfer function is zero. The picture's own log spectrum is smooth: if the mean around each
frequency is subtracted, little of it remains, and the valleys stay. Their likeness to the valleys of a kernel is a
cosine. Without these likenesses the embedding must learn the patterns of the whole bank from samples, which takes long
(EXPERIMENTS.md, 2026-11-28, "naming blur from scratch").

Shape suffixes: M cells, C channels of the descriptor, H and F frequencies along y and x, K kernels of the bank, E
embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.models.kernel_bank import kernel_bank
from concertdeblur.models.spectrum import HANN_PX

_LEAST_POWER = 1e-3  # least power of a transfer function, because rounding and noise fill its zeros
_SURROUNDINGS = 9  # frequencies over which the mean is taken; the valleys of the longest line are 3 apart


class KernelSignatures(nn.Module):
    """Spectrum descriptors -> a term that is added to their embeddings.

    The weights of the last layer start at zero, so the term is zero before training.
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
    """The difference from the mean around each frequency, (..., H, F), scaled to length 1; 0 where there is none."""
    margin = _SURROUNDINGS // 2
    planes = spectra.flatten(0, -3)[:, None]
    around = F.avg_pool2d(F.pad(planes, (margin,) * 4, mode="reflect"), _SURROUNDINGS, stride=1)
    fine = (planes - around).view_as(spectra)
    return fine / fine.square().sum((-2, -1), keepdim=True).sqrt().clamp_min(1e-6)
