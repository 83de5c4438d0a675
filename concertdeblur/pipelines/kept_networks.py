"""Weight sets that stay loaded from clip to clip, and how fast they were: a folder that is watched asks for each clip."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer


@dataclass(kw_only=True, slots=True)
class KeptNetworks:
    """What was loaded and measured so far."""

    _loaded: "dict[tuple[str, str, str], Deblurrer]" = field(default_factory=dict, init=False)
    _seconds: dict[int, float] = field(default_factory=dict, init=False)  # by the identity of what is kept above

    def load(self, weights: str, *, device: str, backend: str) -> "Deblurrer":
        """As `pretrained.load`, once for the same arguments."""
        from concertdeblur import pretrained  # torch takes seconds to import; identity does without

        key = (weights, device, backend)
        if key not in self._loaded:
            self._loaded[key] = pretrained.load(weights, device=device, backend=backend)
        return self._loaded[key]

    def measured(self, deblurrer: "Deblurrer", measure: "Callable[[Deblurrer], float]") -> float:
        """What `measure` gives of a kept deblurrer, measured once."""
        if id(deblurrer) not in self._seconds:
            self._seconds[id(deblurrer)] = measure(deblurrer)
        return self._seconds[id(deblurrer)]
