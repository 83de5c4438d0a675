"""The networks, plain modules: the paper's, those of `concert`, and the baselines."""

from concertdeblur.models.architecture import Architecture, Networks, build_networks

__all__ = ["Architecture", "Networks", "build_networks"]
