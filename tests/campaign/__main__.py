"""`python -m tests.campaign [PART ...]`: runs the parts, shows figures, writes the table of `docs/reliability.md`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the first import of torch: threads do not live in a fork

from tests.campaign.isolation import warm
from tests.campaign.parts import PARTS
from tests.campaign.record import Record
from tests.campaign.report import figures, table


def main() -> int:
    """Run the parts that are named, or all; 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="A campaign against faults.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; default: all")
    parser.add_argument("--seed", type=int, default=1, help="what every case is drawn from")
    parser.add_argument("--count", type=int, help="cases of each part; default: the part's own")
    parser.add_argument("--short", action="store_true", help="a few cases of each part, in a minute")
    parser.add_argument("--only", type=int, help="run this one case of the part again")
    parser.add_argument("--work", type=Path, help="folder for findings; default: a new one")
    parser.add_argument("--report", type=Path, help="write the table here, as Markdown")
    given = parser.parse_args()
    if unknown := [name for name in given.parts if name not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if given.report and not given.report.resolve().parent.is_dir():
        parser.error(f"{given.report}: there is no folder {given.report.resolve().parent}")
    work = given.work or Path(tempfile.mkdtemp(prefix="concertdeblur-campaign-"))
    warm()
    records = []
    for name in given.parts or PARTS:
        part = PARTS[name]
        count = given.count or (part.short if given.short else part.count)
        record = Record(part=name, seed=given.seed, count=count, only=given.only, folder=work / name)
        record.folder.mkdir(parents=True, exist_ok=True)
        part.run(record)
        records.append(record)
        sys.stdout.write(figures(record) + "\n")
        sys.stdout.flush()
        if given.report:  # after each part, since all of them take hours
            given.report.write_text(table(records), encoding="utf-8")
    num_found = sum(len(record.findings) for record in records)
    sys.stdout.write(f"\n{table(records)}\n{num_found} findings in {work}\n")
    return 1 if num_found else 0


if __name__ == "__main__":
    sys.exit(main())
