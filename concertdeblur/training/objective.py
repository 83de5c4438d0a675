"""The paper's objective, 100 L1 + L_cGAN (equations 3 to 5), divided by 100; and the losses that replace L1.

The cross-entropy of two classes is the logistic loss of delta = logit(sharp) - logit(blur). The generator's adversarial
term has the non-saturating form.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.discriminator import CamDiscriminator

_CHARBONNIER = 1e-6  # the square of 0.001, a quarter of a grey level: smaller errors have next to no gradient
# The ranking loss takes so many squares along each side of a map. It tells squared errors from this value on apart, two
# of them count as alike if their logarithms differ by less than `_ALIKE`, and a difference of the map by
# `_RANKING_SCALE` counts as 1.
_SQUARES, _LEAST_SQUARED_ERROR, _ALIKE, _RANKING_SCALE = 4, 1e-6, 0.3, 0.2
# Of the locating loss: squared errors below which a square is sharp, a little and in full, and above which it is
# blurred.
_CALLED_SHARP, _CALLED_BLURRED = (4e-5, 1.5e-5), (1e-4, 4.5e-4)


def charbonnier(restored_NCHW: Tensor, sharp_NCHW: Tensor) -> Tensor:
    """The Charbonnier loss: L1 with a gradient that falls to 0 where the error does, so that right pixels stay."""
    return ((restored_NCHW - sharp_NCHW).square() + _CHARBONNIER).sqrt().mean()


def relative_l1(restored_NCHW: Tensor, sharp_NCHW: Tensor, *, floor: float) -> Tensor:
    """The mean, over the pictures, of each picture's L1 divided by its present value; its gradient is that of log L1.

    PSNR is a logarithm, too: half the error is 6 dB, in a noisy picture and in a clean one. Noisy pictures dominate a
    plain L1.

    Args:
        restored_NCHW: What the generator made.
        sharp_NCHW: The truth.
        floor: It is added to each L1, so that a nearly perfect picture does not dominate.

    """
    errors_N = (restored_NCHW - sharp_NCHW).abs().mean((1, 2, 3))
    return (errors_N / (errors_N.detach() + floor)).mean()


def log_squared_error(restored_NCHW: Tensor, sharp_NCHW: Tensor, *, floor: float) -> Tensor:
    """The mean, over the pictures, of the logarithm of each picture's mean squared error: the negative PSNR, scaled.

    If several sharp pictures are possible, L1 leads to their median, and this loss to their mean, which has the best
    PSNR.

    Args:
        restored_NCHW: What the generator made.
        sharp_NCHW: The truth.
        floor: It is added to each squared error; an error below it hardly counts.

    """
    errors_N = (restored_NCHW - sharp_NCHW).square().mean((1, 2, 3))
    return (errors_N + floor).log().mean()


def delta(discriminator: CamDiscriminator, blurred_NCHW: Tensor, candidate_NCHW: Tensor) -> Tensor:
    """Confidence of D that each candidate is sharp: logit(sharp) - logit(blur), shape (N,)."""
    confidence: Tensor = discriminator(blurred_NCHW, candidate_NCHW).mean((1, 2))
    return confidence


def sharp_loss(confidence_N: Tensor) -> Tensor:
    """Cross-entropy for candidates whose true class is sharp."""
    return F.softplus(-confidence_N).mean()


def blur_loss(confidence_N: Tensor) -> Tensor:
    """Cross-entropy for candidates whose true class is blur."""
    return F.softplus(confidence_N).mean()


def discriminator_loss(
    discriminator: CamDiscriminator,
    blurred_NCHW: Tensor,
    sharp_NCHW: Tensor,
    restored_NCHW: Tensor,
    is_blurred_N: Tensor,
) -> Tensor:
    """The loss of D on pairs (docs/method.md): (B, S) and (S, S) are sharp, (B, G(B)), (B, B) and (P, P) blur.

    P is S with one half of B pasted in, on the left or on the right. If B is sharp, its pairs are left out of the class
    blur, because they would contradict (S, S).
    """
    left = torch.arange(sharp_NCHW.shape[0], device=sharp_NCHW.device) % 2 == 0
    column = torch.arange(sharp_NCHW.shape[3], device=sharp_NCHW.device) < sharp_NCHW.shape[3] // 2
    in_patch = (column[None, :] == left[:, None])[:, None, None, :]
    partly = torch.where(in_patch, blurred_NCHW, sharp_NCHW)
    kept = is_blurred_N.nonzero()[:, 0]
    given = torch.cat([blurred_NCHW, sharp_NCHW, blurred_NCHW[kept], blurred_NCHW[kept], partly[kept]])
    shown = torch.cat([sharp_NCHW, sharp_NCHW, restored_NCHW[kept], blurred_NCHW[kept], partly[kept]])
    maps = discriminator(given, shown)
    num_sharp = 2 * len(sharp_NCHW)
    confidence = maps.mean((1, 2))
    loss = sharp_loss(confidence[:num_sharp])
    if len(kept):
        num_whole = num_sharp + 2 * len(kept)
        # Only the blurred half of a partly blurred picture has the class blur, so that the map learns where blur is.
        half = maps.shape[2] // 2
        halves = torch.stack([maps[num_whole:, :, :half], maps[num_whole:, :, -half:]], 1).mean((2, 3))
        patch = torch.where(left[kept], halves[:, 0], halves[:, 1])
        rest = torch.where(left[kept], halves[:, 1], halves[:, 0])
        loss = loss + blur_loss(confidence[num_sharp:num_whole]) + 0.5 * (blur_loss(patch) + sharp_loss(rest))
    return loss


def ranking_loss(
    discriminator: CamDiscriminator, blurred_NCHW: Tensor, candidate_NCHW: Tensor, sharp_NCHW: Tensor
) -> Tensor:
    """How wrongly D ranks the squares of a candidate: the square that is further from the truth must look more blurred.

    D does not learn this from whole pictures. There sharp pictures have more detail; but in a frame the places with
    detail are also those where most blur is left. A D that was trained without this loss sent mining to the smooth
    parts of a frame. The paper has no such loss.

    Args:
        discriminator: Its map is compared, averaged over each of 4 x 4 squares.
        blurred_NCHW: B.
        candidate_NCHW: A result of B.
        sharp_NCHW: The truth.
    """
    told_NS = _told(discriminator, blurred_NCHW, candidate_NCHW)
    errors_NS = _log_errors(candidate_NCHW, sharp_NCHW)
    further_NSS = errors_NS[:, :, None] - errors_NS[:, None]
    sharper_NSS = told_NS[:, :, None] - told_NS[:, None]
    weight_NSS = (further_NSS.abs() - _ALIKE).clamp(0, 1)  # squares that are nearly alike are not compared
    losses_NSS = F.softplus(further_NSS.sign() * sharper_NSS / _RANKING_SCALE)
    return (weight_NSS * losses_NSS).sum() / weight_NSS.sum().clamp_min(1)


def locating_loss(
    discriminator: CamDiscriminator, blurred_NCHW: Tensor, candidate_NCHW: Tensor, sharp_NCHW: Tensor
) -> Tensor:
    """Each square of a candidate must be called blurred if it is far from the truth, and sharp if it is near.

    It keeps the heatmap's values apart where the ranking loss alone lets them come together. The loss is ours.

    Args:
        discriminator: As of `ranking_loss`.
        blurred_NCHW: B.
        candidate_NCHW: What was made of B.
        sharp_NCHW: The truth.
    """
    told_NS = _told(discriminator, blurred_NCHW, candidate_NCHW)
    errors_NS = _log_errors(candidate_NCHW, sharp_NCHW)
    (sharp_below, sharp_in_full), (blurred_above, blurred_in_full) = _CALLED_SHARP, _CALLED_BLURRED
    is_sharp_NS = ((math.log(sharp_below) - errors_NS) / math.log(sharp_below / sharp_in_full)).clamp(0, 1)
    is_blurred_NS = ((errors_NS - math.log(blurred_above)) / math.log(blurred_in_full / blurred_above)).clamp(0, 1)
    return (is_blurred_NS * F.softplus(told_NS) + is_sharp_NS * F.softplus(-told_NS)).mean()


def _told(discriminator: CamDiscriminator, blurred_NCHW: Tensor, candidate_NCHW: Tensor) -> Tensor:
    """How sharp D calls each square, (N, squares)."""
    maps_Nhw = discriminator(blurred_NCHW, candidate_NCHW)
    return F.adaptive_avg_pool2d(maps_Nhw[:, None], _SQUARES).flatten(1)


def _log_errors(candidate_NCHW: Tensor, sharp_NCHW: Tensor) -> Tensor:
    """The logarithm of the mean squared error of each square, (N, squares)."""
    squared_N1HW = (candidate_NCHW - sharp_NCHW).square().mean(1, keepdim=True)
    return F.adaptive_avg_pool2d(squared_N1HW, _SQUARES).flatten(1).clamp_min(_LEAST_SQUARED_ERROR).log()
