"""What a campaign prints: figures of a part, and the table of all."""

import datetime
import time
from collections import Counter
from collections.abc import Sequence

from concertdeblur.version import __version__
from tests.campaign.record import Record

_MOST_SENTENCES = 8


def figures(record: Record) -> str:
    """One part in words: cases by kind and outcome, the most frequent refusals, each kind of fault."""
    kinds = sorted({kind for kind, _ in record.outcomes})
    lines = [
        f"== {record.part}: {record.num_cases} cases, seed {record.seed}, {time.monotonic() - record.started_s:.0f} s"
    ]
    for kind in kinds:
        counts = {outcome: count for (of, outcome), count in sorted(record.outcomes.items()) if of == kind}
        lines.append(f"  {kind:<24} " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    lines += [f"  {name}: {value}" for name, value in record.figures.items()]
    lines += [f"  {count:>4} x {sentence}" for sentence, count in record.sentences.most_common(_MOST_SENTENCES)]
    faults = Counter(finding.fault for finding in record.findings)
    lines += [f"  FAULT {count:>4} x {fault}" for fault, count in faults.most_common()]
    return "\n".join(lines)


def table(records: Sequence[Record]) -> str:
    """All parts as a Markdown table, under a line with date, version and seed."""
    seeds = ", ".join(sorted({str(record.seed) for record in records}))
    lines = [
        f"{datetime.date.today().isoformat()}, concertdeblur {__version__}, seed {seeds}.",
        "",
        "| part | kind | cases | done | refused in one sentence | other | faults |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for record in records:
        for kind in sorted({kind for kind, _ in record.outcomes}):
            counts = {outcome: count for (of, outcome), count in record.outcomes.items() if of == kind}
            others = ", ".join(
                f"{count} {outcome}" for outcome, count in sorted(counts.items())
                if outcome not in ("done", "refused", "fault")
            )  # fmt: skip
            cells = (record.part, kind, sum(counts.values()), counts.get("done", 0), counts.get("refused", 0), others,
                     counts.get("fault", 0))  # fmt: skip
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines.append("")
    lines += [f"{record.part}: {name}: {value}." for record in records for name, value in record.figures.items()]
    return "\n".join(lines) + "\n"
