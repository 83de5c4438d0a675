"""A large restoration that begins as a trained small one: what took hours to learn is not learned twice.

Each channel of the small network gets as many copies as the large one has room for, and what reads them divides its
weights among the copies at random, so that they part as they learn (Net2Net: Chen, Goodfellow and Shlens, 2016, section
2.2). Blocks that the small one lacks add nothing at first. A norm over channels sees the same mean and variance.
"""

import torch
from torch import Tensor, nn

from concertdeblur.models.restoration import PathRestoration, PictureRestoration, Restoration

_SHARES = (0.3, 0.7)  # of a weight that one copy of its input may get, before they are made to sum to 1
# The axes of a weight along which its layer's output and input channels lie; what is not named is not widened.
_AXES = {nn.Conv2d: (0, 1), nn.ConvTranspose2d: (1, 0)}


@torch.no_grad()
def grow(small: Restoration, large: Restoration, *, generator: torch.Generator) -> None:
    """Give `large` weights with which it computes what `small` computes.

    Args:
        small: Trained.
        large: Its width a multiple, and at least as many blocks on each level; overwritten. One along the motion
            grows out of one of pictures, too: it computes what that one computes of hints that say nothing.
        generator: Of the random shares.

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
            tensor.zero_()  # a block more, which adds nothing yet
    missing = source.keys() - target.keys()
    if missing:
        raise ValueError(f"the large network has no {sorted(missing)[0]}: it needs as many blocks as the small one")


def _without_hints(small: PictureRestoration) -> dict[str, Tensor]:
    """Its weights, but for what makes hints and reads them; hints are the last that `head` reads."""
    source = {name: value for name, value in small.state_dict().items() if name.split(".")[0] not in ("norm", "hint")}
    source["head.weight"] = source["head.weight"][:, : -small.hint.out_channels]
    return source


def _widened(tensor: Tensor, shape: torch.Size, layer: nn.Module, kind: str, generator: torch.Generator) -> Tensor:
    """Copied along the outputs, and divided among the copies along the inputs."""
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
