"""The process that looks at clips and tries frames; it stays, so that the networks are loaded once.

`python -m concertdeblur.studio.previewer`, by the studio only. Orders: `networks` first, then `facts`, `moment` and
`pace`, each with a ticket that the answer bears.
"""

import os
import queue
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concertdeblur.errors import ConcertDeblurError, Interrupted
from concertdeblur.studio.pipes import Message, Studio, stand_back

if TYPE_CHECKING:
    from concertdeblur.studio.previewing import Networks


def main() -> None:
    """Serve orders one after the other until there are no more."""
    stand_back()
    orders: queue.SimpleQueue[Message] = queue.SimpleQueue()
    studio = Studio(orders.put, lambda: os._exit(0))  # nothing here needs an end: views are replaced as a whole
    networks: Networks | None = None
    while True:
        order = orders.get()
        if order["order"] == "networks":
            networks = _networks(order["networks"])
            continue
        try:
            facts = _answer(order, networks, is_wanted=orders.empty)
        except Interrupted:
            studio.tell("put off", ticket=order["ticket"])
        except ConcertDeblurError as error:
            studio.tell("failed", ticket=order["ticket"], error=str(error))
        except MemoryError:
            studio.tell("failed", ticket=order["ticket"], error="there is not enough memory for this clip")
        else:
            studio.tell("answer", ticket=order["ticket"], facts=facts)


def _networks(choices: dict[str, Any]) -> "Networks":
    from concertdeblur.studio import previewing  # torch takes seconds

    return previewing.Networks(**choices)


def _answer(order: Message, networks: "Networks | None", *, is_wanted: Callable[[], bool]) -> dict[str, Any]:
    """What an order asks for; `is_wanted` says whether a long measurement may go on."""
    path = Path(order["path"])
    if order["order"] == "facts":
        from concertdeblur.studio.facts import facts_of

        return asdict(facts_of(path))
    from concertdeblur.studio import previewing

    assert networks is not None
    deblurrer = networks.of(order["quality"])
    if order["order"] == "pace":
        frame_s = previewing.seconds_a_frame(path, deblurrer, deinterlace=order["is_interlaced"], is_wanted=is_wanted)
        return {"frame_s": frame_s}
    if order["kind"] == "picture":
        moment = previewing.picture_moment(path, deblurrer)
    else:
        moment = previewing.clip_moment(path, order["time_s"], deblurrer, deinterlace=order["is_interlaced"])
    moment.write(Path(order["stem"]))
    return {"time_s": moment.time_s, "boxes": moment.shown_boxes(), "elapsed_s": moment.elapsed_s}


if __name__ == "__main__":
    main()
