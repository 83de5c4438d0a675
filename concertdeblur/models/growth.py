"""A large restoration begins as a trained small one, so that it need not learn everything again.

Each channel of the small network is copied as often as the large one has room for. A layer that reads the copies
divides its weight among them at random shares, so that the copies become different as they learn (Net2Net: Chen,
Goodfellow and Shlens, 2016, section 2.2). Blocks that the small network lacks add nothing at first. The mean and
variance over the channels stay the same, so norms are not changed.
"""

import torch
from torch import Tensor, nn

from concertdeblur.models.restoration import PathRestoration, PictureRestoration, Restoration

_SHARES = (0.3, 0.7)  # the least and the largest share of a copy, before the shares are scaled to sum to 1
# The axes of a weight along which its layer's output and input channels lie; other weights stay as they are.
_AXES = {nn.Conv2d: (0, 1), nn.ConvTranspose2d: (1, 0)}


@torch.no_grad()
def grow(small: Restoration, large: Restoration, *, generator: torch.Generator) -> None:
    """Give `large` weights with which it computes what `small` computes.

    Args:
        small: The trained network.
        large: Its weights are overwritten. Its width is a multiple of the small one's, and it has at least as many
            blocks on each level. If it works along the motion, and the small one on pictures, it computes what the
            small one computes of empty hints.
        generator: Draws the random shares.

    Raises:
        ValueError: If `large` has no room for `small`.

    """
    target = large.state_dict()
    source = small.state_dict()
    if isinstance(small, PictureRestoration) and isinstance(large, PathRestoration):
        source = _without_hints(small)
    layers = dict(large.named_modules())
    for name, tensor in target.items():
        layer_name, _, kind = name.rpartition(".")
        layer = layers[layer_name]
        if name in source:
            tensor.copy_(_widened(source[name], tensor.shape, layer, kind, generator))
        elif layer_name.endswith("conv2"):
            tensor.zero_()  # a further block, which adds nothing at first
    missing = source.keys() - target.keys()
    if missing:
        raise ValueError(f"the large network has no {sorted(missing)[0]}: it needs as many blocks as the small one")


def _without_hints(small: PictureRestoration) -> dict[str, Tensor]:
    """The weights, without those that make hints or read them; hints are the last channels that `head` reads."""
    source = {name: value for name, value in small.state_dict().items() if name.split(".")[0] not in ("norm", "hint")}
    source["head.weight"] = source["head.weight"][:, : -small.hint.out_channels]
    return source


def _widened(tensor: Tensor, shape: torch.Size, layer: nn.Module, kind: str, generator: torch.Generator) -> Tensor:
    """A weight copied along its outputs, and divided among the copies along its inputs."""
    if kind == "weight" and type(layer) in _AXES:
        outputs, inputs = _AXES[type(layer)]
        return _divided(_copied(tensor, shape, (outputs,)), shape, inputs, generator)
    return _copied(tensor, shape, tuple(range(tensor.ndim)))


def _copied(tensor: Tensor, shape: torch.Size, axes: tuple[int, ...]) -> Tensor:
    copies = [shape[axis] // tensor.shape[axis] if axis in axes else 1 for axis in range(tensor.ndim)]
    if any(tensor.shape[axis] * copies[axis] != shape[axis] for axis in axes):
        raise ValueError(f"widths must be multiples: {tuple(tensor.shape)} does not grow into {tuple(shape)}")
    return tensor.repeat(copies)


def _divided(tensor: Tensor, shape: torch.Size, axis: int, generator: torch.Generator) -> Tensor:
    whole = _copied(tensor, shape, (axis,))
    copies = shape[axis] // tensor.shape[axis]
    if copies == 1:
        return whole
    low, high = _SHARES
    shares = low + (high - low) * torch.rand(whole.shape, generator=generator)
    by_copy = shares.view(*shape[:axis], copies, *tensor.shape[axis:])
    divided: Tensor = whole * (by_copy / by_copy.sum(axis, keepdim=True)).view(shape)
    return divided
