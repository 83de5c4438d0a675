"""The networks, plain modules: the paper's and the fast ones."""

from concertdeblur.models.architecture import Architecture, Networks, build_networks

__all__ = ["Architecture", "Networks", "build_networks"]
