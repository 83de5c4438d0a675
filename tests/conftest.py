"""Workers that run side by side (`pytest -n 2`) compute with one thread each.

Two pools of threads on the same cores slow each other down tenfold: each spins while it waits for the other's cores.
"""

import os

import cv2
import torch
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # how long an example takes says more of the other worker
settings.load_profile("unhurried")

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # of programs that tests start
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
