"""A worker of the studio that has made its file at once, and whose process takes a while to end, as torch's does."""

import json
import sys
import time
from pathlib import Path

LINGERS_S = 0.6
COPIES_IN_S = 1.0


def main() -> None:
    """Do the first order."""
    order = json.loads(sys.stdin.readline())
    if order["work"] == "copy":
        time.sleep(COPIES_IN_S)
    Path(order["target"]).write_bytes(Path(order["source"]).read_bytes())
    sys.stdout.write(json.dumps({"event": "done", "summary": {"text": "it is written"}}) + "\n")
    sys.stdout.flush()
    time.sleep(LINGERS_S)


if __name__ == "__main__":
    main()
