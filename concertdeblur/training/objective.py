"""The objective: 100 L1 + L_cGAN (paper equations 3 to 5), scaled by 1/100.

Cross-entropy over two classes is the logistic loss of delta = logit(sharp) - logit(blur); the
generator's adversarial term takes the non-saturating form.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.discriminator import CamDiscriminator

_CHARBONNIER = 1e-6  # the square of a thousandth: a quarter of a grey level
# Of the ranking loss: squares a side, the least squared error that is told apart, the difference of its logarithm that
# counts as alike, and the difference of the map that counts as 1.
_SQUARES, _LEAST_SQUARED_ERROR, _ALIKE, _RANKING_SCALE = 4, 1e-6, 0.3, 0.2


def charbonnier(restored_NCHW: Tensor, sharp_NCHW: Tensor) -> Tensor:
    """L1 whose gradient fades where little is wrong (Charbonnier): what is right is left alone."""
    return ((restored_NCHW - sharp_NCHW).square() + _CHARBONNIER).sqrt().mean()


def relative_l1(restored_NCHW: Tensor, sharp_NCHW: Tensor, *, floor: float) -> Tensor:
    """Mean over the pictures of each one's L1, as a share of what it is just now: its gradient is that of log L1.

    PSNR is a logarithm too: half the error is 6 dB, of a noisy picture as of a clean one, where plain L1 hardly
    notices the clean ones.

    Args:
        restored_NCHW: What the generator made.
        sharp_NCHW: The truth.
        floor: Added to each L1, so that a picture that is all but right does not count without bounds.

    """
    errors_N = (restored_NCHW - sharp_NCHW).abs().mean((1, 2, 3))
    return (errors_N / (errors_N.detach() + floor)).mean()


def log_squared_error(restored_NCHW: Tensor, sharp_NCHW: Tensor, *, floor: float) -> Tensor:
    """Mean over the pictures of the logarithm of each one's mean squared error: PSNR, but for sign and factor.

    Where L1 asks for the median of what could be there, this asks for its mean, which is what PSNR rewards.

    Args:
        restored_NCHW: What the generator made.
        sharp_NCHW: The truth.
        floor: Added to each squared error: better than this hardly counts.

    """
    errors_N = (restored_NCHW - sharp_NCHW).square().mean((1, 2, 3))
    return (errors_N + floor).log().mean()


def delta(discriminator: CamDiscriminator, blurred_NCHW: Tensor, candidate_NCHW: Tensor) -> Tensor:
    """Confidence of D that each candidate is sharp: logit(sharp) - logit(blur), shape (N,)."""
    confidence: Tensor = discriminator(blurred_NCHW, candidate_NCHW).mean((1, 2))
    return confidence


def sharp_loss(confidence_N: Tensor) -> Tensor:
    """Cross-entropy of calling the candidates sharp."""
    return F.softplus(-confidence_N).mean()


def blur_loss(confidence_N: Tensor) -> Tensor:
    """Cross-entropy of calling the candidates blurred."""
    return F.softplus(confidence_N).mean()


def discriminator_loss(
    discriminator: CamDiscriminator,
    blurred_NCHW: Tensor,
    sharp_NCHW: Tensor,
    restored_NCHW: Tensor,
    is_blurred_N: Tensor,
) -> Tensor:
    """What D sees (docs/method.md): (B, S) and (S, S) sharp; (B, G(B)), (B, B) and (P, P) blur.

    P is S with its blurred half pasted in, left or right. Pairs whose B is sharp are left out of the
    blur class, where they would contradict (S, S).
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
        # Of a partly blurred picture only the blurred half is called blur: the map must say where.
        half = maps.shape[2] // 2
        halves = torch.stack([maps[num_whole:, :, :half], maps[num_whole:, :, -half:]], 1).mean((2, 3))
        patch = torch.where(left[kept], halves[:, 0], halves[:, 1])
        rest = torch.where(left[kept], halves[:, 1], halves[:, 0])
        loss = loss + blur_loss(confidence[num_sharp:num_whole]) + 0.5 * (blur_loss(patch) + sharp_loss(rest))
    return loss


def ranking_loss(
    discriminator: CamDiscriminator, blurred_NCHW: Tensor, candidate_NCHW: Tensor, sharp_NCHW: Tensor
) -> Tensor:
    """Of two squares of one candidate, the one that is further from the truth must be called the more blurred.

    Whole pictures do not teach D this: what is sharp has more detail, and detail is also where blur leaves most to
    gain. A D that was trained without this loss sent mining to the smooth parts of a frame. The loss is ours.

    Args:
        discriminator: Its map is compared, averaged over each of 4 x 4 squares.
        blurred_NCHW: B.
        candidate_NCHW: What was made of B.
        sharp_NCHW: The truth.
    """
    maps_Nhw = discriminator(blurred_NCHW, candidate_NCHW)
    told_NS = F.adaptive_avg_pool2d(maps_Nhw[:, None], _SQUARES).flatten(1)
    squared_N1HW = (candidate_NCHW - sharp_NCHW).square().mean(1, keepdim=True)
    errors_NS = F.adaptive_avg_pool2d(squared_N1HW, _SQUARES).flatten(1).clamp_min(_LEAST_SQUARED_ERROR).log()
    further_NSS = errors_NS[:, :, None] - errors_NS[:, None]
    sharper_NSS = told_NS[:, :, None] - told_NS[:, None]
    weight_NSS = (further_NSS.abs() - _ALIKE).clamp(0, 1)  # squares that are nearly alike are not compared
    losses_NSS = F.softplus(further_NSS.sign() * sharper_NSS / _RANKING_SCALE)
    return (weight_NSS * losses_NSS).sum() / weight_NSS.sum().clamp_min(1)
