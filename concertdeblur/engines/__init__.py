"""Networks made ready to run, and what was compiled for them kept from run to run."""

from concertdeblur.engines.engine import Engine, OpenVinoEngine, TorchEngine, load_openvino, make_engine

__all__ = ["Engine", "OpenVinoEngine", "TorchEngine", "load_openvino", "make_engine"]
