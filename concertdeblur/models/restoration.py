"""The restorations of architecture `concert`: the bodies of G_i and G_p.

A restoration is a plain convolutional network. Its receptive field is bounded, so it can be tiled, and it has no FFT,
so engines other than torch can run it. It is given a frame, and guesses at the result that others have made.

Shape suffixes: N frames, C channels, H height, W width (h, w: in steps of HINT_PX, or of SMEAR_PX for a smear),
E embedding, G channels of guesses, K taps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.models.path_taps import NUM_TAPS, PLANES
from concertdeblur.models.prepared import HINT_PX
from concertdeblur.models.spectrum import luma

UNSHUFFLE = 4  # dense 3x3 convolutions at a quarter of the resolution give the most dB for a second of a CPU
_NUM_HINTS = 32
_NORM_EPSILON = 1e-6
# These factors bring inputs and outputs to about 1: guesses differ from the frame by some hundredths, taps by more.
_STEP_GAIN, _TAP_GAIN, _CORRECTION_GAIN = 8.0, 4.0, 0.25
_NUM_VELOCITIES = 4  # channels that say how a place moves: x, y, speed and the logarithm of the speed
_SMEAR_UNIT_PX = 16.0
# A result may leave the range of the frame's own samples by _BOUND, plus that range times 1 + _BOUND_GROWTH for each px
# of speed. A wider bound (2 and 0.25) gained nothing (EXPERIMENTS.md, 2026-11-29).
_BOUND, _BOUND_GROWTH = 1.4 / 255, 0.2
_STILL_PX = 1.0  # what is smeared so far has a path that tells its blur


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel, (N, width, h, w); it sees no neighbours, so tiles stay exact."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Bring each pixel to mean 0 and variance 1 over its channels, then scale and shift each channel."""
        centred = features - features.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + _NORM_EPSILON).rsqrt()
        return centred * scale * self.weight + self.bias


class ResidualBlock(nn.Module):
    """Norm and two 3x3 convolutions, added to what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.2))  # blocks start close to identity

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, h, w) -> the same."""
        out: Tensor = features + self.scale * self.conv2(F.gelu(self.conv1(self.norm(features))))
        return out


class DeepLevel(nn.Module):
    """Residual blocks of twice the width at half the resolution, added to what goes in.

    Such a block costs as much as one of the single width at the full resolution, and has four times its weights.
    """

    def __init__(self, width: int, num_blocks: int) -> None:
        super().__init__()
        # The same as (un)shuffling and a 1x1 convolution, but faster in OpenVINO.
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.blocks = nn.Sequential(*[ResidualBlock(2 * width) for _ in range(num_blocks)])
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, h, w) -> the same; h and w are even."""
        out: Tensor = features + self.up(self.blocks(self.down(features)))
        return out


class Restoration(nn.Module):
    """A frame and guesses at the result -> the restored frame: what the restorations of pictures and videos share.

    Each pixel of the output is the frame's pixel, moved towards each guess by a weight of its own (a gate), plus a
    correction. Gates and corrections start at zero, so an untrained network is the identity. The last guess is a luma;
    the others are RGB.

    The network is given differences: each guess less the frame. Every block normalises what it reads. Without both,
    most units never answered (EXPERIMENTS.md, 2026-11-23, "why does a large restoration gain nothing?").

    Args:
        width: Channels at a quarter of the resolution.
        num_blocks: Residual blocks there.
        num_guesses: Channels of the guesses.
        num_deep_blocks: Residual blocks of twice the width at an eighth of the resolution.
        num_hints: Channels that are seen beside the frame and the guesses.
    """

    multiple_px = HINT_PX

    def __init__(
        self, *, width: int, num_blocks: int, num_guesses: int, num_deep_blocks: int = 0, num_hints: int = 0
    ) -> None:
        super().__init__()
        self.head = nn.Conv2d((3 + num_guesses) * UNSHUFFLE**2 + num_hints, width, 3, padding=1)
        before = num_blocks // 2 if num_deep_blocks else num_blocks
        self.before = nn.Sequential(*[ResidualBlock(width) for _ in range(before)])
        self.deep = DeepLevel(width, num_deep_blocks) if num_deep_blocks else nn.Identity()
        self.after = nn.Sequential(*[ResidualBlock(width) for _ in range(num_blocks - before)])
        self.tail_norm = ChannelNorm(width)
        self.tail = nn.Conv2d(width, (3 + num_guesses) * UNSHUFFLE**2, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)
        deep_px = 2 * UNSHUFFLE * (2 * num_deep_blocks + 1) if num_deep_blocks else 0
        # Each 3x3 convolution looks one unshuffled pixel further; one more, as a pixel may lie anywhere within its own.
        self.receptive_margin_px = UNSHUFFLE * (2 * num_blocks + 3) + deep_px

    def _features(self, begun: Tensor) -> Tensor:
        """All blocks, from the output of `head` to the input of `tail`; (N, width, H / UNSHUFFLE, W / UNSHUFFLE)."""
        return F.silu(self.tail_norm(self.after(self.deep(self.before(begun)))))

    def _moved(self, frames_NCHW: Tensor, steps_NGHW: Tensor, features: Tensor) -> Tensor:
        """The frames, moved towards each guess by its gates, and corrected."""
        out = F.pixel_shuffle(self.tail(features), UNSHUFFLE).float()
        gated = out[:, 3:] * steps_NGHW
        moved = frames_NCHW + _CORRECTION_GAIN * out[:, :3] + gated[:, -1:]
        for first in range(0, gated.shape[1] - 1, 3):
            moved = moved + gated[:, first : first + 3]
        return moved


class PictureRestoration(Restoration):
    """The restoration of pictures, which is also given hints at the blur.

    Args:
        embedding_width: Channels of the hints.
        **size: As of `Restoration`.
    """

    def __init__(self, *, embedding_width: int, **size: int) -> None:
        super().__init__(num_hints=_NUM_HINTS, **size)
        self.norm = nn.LayerNorm(embedding_width)
        self.hint = nn.Conv2d(embedding_width, _NUM_HINTS, 1)

    def forward(self, frames_NCHW: Tensor, guess_NGHW: Tensor, hints_NEhw: Tensor) -> Tensor:
        """Restore pictures.

        Args:
            frames_NCHW: RGB in [0, 1]; H and W are multiples of HINT_PX.
            guess_NGHW: Guesses at the result, in [0, 1].
            hints_NEhw: Hints at the blur, one for HINT_PX x HINT_PX.

        Returns:
            (N, 3, H, W), not clamped.
        """
        hints = self.hint(self.norm(hints_NEhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        hints = F.interpolate(hints, scale_factor=HINT_PX // UNSHUFFLE, mode="nearest")
        steps_NGHW = _steps(frames_NCHW, guess_NGHW)
        features = self._features(self.head(torch.cat([_views(frames_NCHW, steps_NGHW), hints], 1)))
        return self._moved(frames_NCHW, steps_NGHW, features)


class PathRestoration(Restoration):
    """The restoration of a video's frames, which is also given taps: samples along the path of each pixel.

    Each pixel of the output is also moved towards each tap by a weight of its own. There are no hints: taps say more
    about the blur of what moves, and the few collections of real pairs can be told apart by their hints, so that a
    network which was given both gained only on footage that it knew (EXPERIMENTS.md, 2026-11-29).

    Args:
        **size: As of `Restoration`.
    """

    def __init__(self, **size: int) -> None:
        super().__init__(**size)
        width = self.head.out_channels
        self.path_head = nn.Conv2d(NUM_TAPS * UNSHUFFLE**2 + _NUM_VELOCITIES, width, 1, bias=False)
        self.path_tail = nn.Conv2d(width, NUM_TAPS * UNSHUFFLE**2, 1)
        for parameter in self.path_tail.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        frames_NCHW: Tensor,
        guess_NGHW: Tensor,
        red_NKHW: Tensor,
        green_NKHW: Tensor,
        blue_NKHW: Tensor,
        luma_NKHW: Tensor,
        range_N6HW: Tensor,
        smear_N2hw: Tensor,
    ) -> Tensor:
        """Restore frames along their motion.

        Args:
            frames_NCHW: RGB in [0, 1]; H and W are multiples of HINT_PX.
            guess_NGHW: Guesses at the result, in [0, 1].
            red_NKHW: The red of each tap, 8 bits as uint8, or float in [0, 1]. The colours are apart, since an engine
                copies what it has to cut.
            green_NKHW: The green.
            blue_NKHW: The blue.
            luma_NKHW: The brightness of each tap.
            range_N6HW: The lowest and the highest RGB of the frame's own samples within an exposure.
            smear_N2hw: px in an exposure, one for UNSHUFFLE x UNSHUFFLE.

        Returns:
            (N, 3, H, W), not clamped.
        """
        unit = 1.0 if red_NKHW.is_floating_point() else 1 / 255
        steps_NGHW = _steps(frames_NCHW, guess_NGHW)
        begun = self.head(_views(frames_NCHW, steps_NGHW))
        begun = begun + self._begun_of_path(unit * (luma_NKHW.float() - luma(frames_NCHW) / unit), smear_N2hw)
        features = self._features(begun)
        moved = self._moved(frames_NCHW, steps_NGHW, features)
        weights_NKHW = unit * F.pixel_shuffle(self.path_tail(features), UNSHUFFLE).float()
        by_colour = [
            (weights_NKHW * colour.float()).sum(1, keepdim=True) for colour in (red_NKHW, green_NKHW, blue_NKHW)
        ]
        along_NCHW = torch.cat(by_colour, 1) - frames_NCHW * (weights_NKHW.sum(1, keepdim=True) / unit)
        guesses = [steps_NGHW[:, first : first + 3] for first in range(0, steps_NGHW.shape[1] - 1, 3)]
        step_NCHW = moved - frames_NCHW + along_NCHW
        lowest, highest = (unit * some.float() - frames_NCHW for some in (range_N6HW[:, :3], range_N6HW[:, 3:]))
        return frames_NCHW + _bounded(step_NCHW, lowest, highest, guesses, smear_N2hw)

    def _begun_of_path(self, ways_NKHW: Tensor, smear_N2hw: Tensor) -> Tensor:
        """`path_head` of the brightness from the frame to each tap, and of the smear.

        The taps' part is a convolution of UNSHUFFLE x UNSHUFFLE px, which spares an engine the unshuffled copy.
        """
        num = NUM_TAPS * UNSHUFFLE**2
        weight = self.path_head.weight
        of_taps = _TAP_GAIN * weight[:, :num].reshape(-1, NUM_TAPS, UNSHUFFLE, UNSHUFFLE)
        smear = smear_N2hw / _SMEAR_UNIT_PX
        squared = smear.square().sum(1, keepdim=True)
        log_speed = (squared / 1e-3 + 1).log() / 4  # 0 where nothing moves
        seen = torch.cat([smear, (squared + 1e-6).sqrt() - 1e-3, log_speed], 1)
        return F.conv2d(ways_NKHW, of_taps, stride=UNSHUFFLE) + F.conv2d(seen, weight[:, num:])


def by_plane(taps_NTHW: Tensor) -> tuple[Tensor, ...]:
    """The planes of `path_taps.taps_of` as `PathRestoration` takes them: red, green, blue, luma, range."""
    return torch.split(taps_NTHW, list(PLANES), 1)


def _steps(frames_NCHW: Tensor, guess_NGHW: Tensor) -> Tensor:
    """From the frame to each guess."""
    num_rgb = guess_NGHW.shape[1] // 3
    return guess_NGHW - torch.cat([*[frames_NCHW] * num_rgb, luma(frames_NCHW)], 1)


def _views(frames_NCHW: Tensor, steps_NGHW: Tensor) -> Tensor:
    """What `head` sees of the frame and the guesses, at a quarter of the resolution."""
    return F.pixel_unshuffle(torch.cat([2 * frames_NCHW - 1, _STEP_GAIN * steps_NGHW], 1), UNSHUFFLE)


def _bounded(
    step_NCHW: Tensor, lowest_NCHW: Tensor, highest_NCHW: Tensor, guesses: list[Tensor], smear_N2hw: Tensor
) -> Tensor:
    """A step of the result that goes no further than what this frame itself allows.

    Where its own samples within the exposure are all alike there is no motion blur to undo. The longer the path, the
    more a thin bright line lost by being smeared, so the bound grows with it. What stands still has no path: there the
    guesses say what other blur there is.

    Args:
        step_NCHW: From the frame to the result.
        lowest_NCHW: From the frame to the lowest of its own samples within the exposure; 0 at most.
        highest_NCHW: To the highest; 0 at least.
        guesses: From the frame to each guess.
        smear_N2hw: px in an exposure.
    """
    speed_N1hw = smear_N2hw.square().sum(1, keepdim=True).sqrt()
    speed_N1HW = F.interpolate(speed_N1hw, scale_factor=UNSHUFFLE, mode="nearest")
    still_N1HW = (1 - speed_N1HW / _STILL_PX).clamp(0, 1)
    for guess in guesses:
        lowest_NCHW = torch.minimum(lowest_NCHW, still_N1HW * guess)
        highest_NCHW = torch.maximum(highest_NCHW, still_N1HW * guess)
    room = _BOUND + (1 + _BOUND_GROWTH * speed_N1HW) * (highest_NCHW - lowest_NCHW)
    return torch.minimum(torch.maximum(step_NCHW, lowest_NCHW - room), highest_NCHW + room)
