"""Synthetic blur: the seven kernels of the concert set."""

from concertdeblur.blur.kernels import Kernel, blur

__all__ = ["Kernel", "blur"]
