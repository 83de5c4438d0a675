"""Decoding time stamps of packets whose encoder gave none that can be used."""

import itertools
from collections.abc import Sequence


def decode_stamps(pts: Sequence[int]) -> list[int]:
    """The dts of packets in coding order, from their pts.

    The k-th packet gets the pts of the (k - d)-th shown frame, where d is how far coding runs ahead of showing;
    before the first frame the stamps go on backwards. So each is at most its pts, and they grow.
    """
    shown = sorted(pts)
    rank = {stamp: number for number, stamp in enumerate(shown)}
    ahead = max((number - rank[stamp] for number, stamp in enumerate(pts)), default=0)
    step = max(1, shown[1] - shown[0]) if len(shown) > 1 else 1
    return [shown[k - ahead] if k >= ahead else shown[0] - (ahead - k) * step for k in range(len(shown))]


def are_usable(pts: Sequence[int | None], dts: Sequence[int | None]) -> bool:
    """Whether dts are there, grow, are at most their pts and lie near the first of them."""
    if any(value is None for value in (*pts, *dts)):
        return False
    known_pts, known = [value or 0 for value in pts], [value or 0 for value in dts]
    span = max(known_pts) - min(known_pts) + 1
    return (
        all(first < second for first, second in itertools.pairwise(known))
        and all(decoded <= shown for decoded, shown in zip(known, known_pts, strict=True))
        and (not known or known[0] >= min(known_pts) - max(100 * span, 1_000_000_000))
    )
