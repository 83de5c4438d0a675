"""`summary.html`: counts, what was left out and why, and a contact sheet, in one file that needs no other."""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.findings import Finding
from concertdeblur.dataset.frames import FrameRecord
from concertdeblur.dataset.pairs import PairRow
from concertdeblur.dataset.sources import Failure

Picture = npt.NDArray[np.uint8]

SUMMARY_FILE = "summary.html"
SHEET_FILE = "contact-sheet.png"
THUMB_HW = (150, 240)
_SHEET_COLUMNS = 6
_MOST_ON_SHEET = 240
_MOST_ON_PAGE = 600  # most frames on the page, so that the page of a large set still opens
_JPEG_QUALITY = 80
# the page may run and load nothing, because titles come from anywhere
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data set: concertdeblur</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 100rem; padding: 0 1rem; }
body { color: #1c1c1e; background: #fff; } th { text-align: left; } td.n, th.n { text-align: right; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { padding: .2rem .8rem .2rem 0; vertical-align: top; }
tr + tr td { border-top: 1px solid #ddd; } .wide { overflow-x: auto; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; }
figure { margin: 0; } img { width: 100%; display: block; background: #000; }
figcaption { font-size: 12px; color: #444; }
figure.dropped { opacity: .35; } .tables { display: flex; flex-wrap: wrap; gap: 0 3rem; }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161618; } figcaption { color: #aaa; }
tr + tr td { border-color: #333; } }
</style></head><body>
"""


def thumbnail(picture: Picture) -> Picture:
    """A small RGB picture with the same aspect ratio."""
    scale = min(THUMB_HW[0] / picture.shape[0], THUMB_HW[1] / picture.shape[1])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shown_on_page(frame_ids: Sequence[str]) -> frozenset[str]:
    """The frames that the page shows: all, or evenly spread ones if there are too many."""
    places = np.linspace(0, len(frame_ids) - 1, min(len(frame_ids), _MOST_ON_PAGE)).round().astype(int)
    return frozenset(frame_ids[place] for place in places)


def contact_sheet(thumbs: Sequence[Picture]) -> Picture:
    """The first pictures side by side, (height, width, 3) RGB."""
    shown = thumbs[:_MOST_ON_SHEET]
    num_rows = max(1, -(-len(shown) // _SHEET_COLUMNS))
    height, width = THUMB_HW[0] + 4, THUMB_HW[1] + 4
    sheet = np.full((num_rows * height, _SHEET_COLUMNS * width, 3), 24, dtype=np.uint8)
    for number, thumb in enumerate(shown):
        top, left = number // _SHEET_COLUMNS * height, number % _SHEET_COLUMNS * width
        sheet[top : top + thumb.shape[0], left : left + thumb.shape[1]] = thumb
    return sheet


def summary_page(
    findings: Sequence[Finding],
    records: Sequence[FrameRecord],
    dropped_ids: frozenset[str],
    rows: Sequence[PairRow],
    *,
    thumbs: Mapping[str, Picture],
    failures: Sequence[Failure],
) -> str:
    """The page.

    Args:
        findings: Every source that was read.
        records: Every frame, those dropped in review as well.
        dropped_ids: Frames that were dropped in review.
        rows: Every pair.
        thumbs: A small picture of each frame that is shown, by its id.
        failures: Sources that gave nothing.

    """
    kept = [record for record in records if record.frame_id not in dropped_ids]
    shown = [record for record in records if record.frame_id in thumbs]
    left_out: Counter[str] = Counter()
    for finding in findings:
        left_out.update(finding.dropped)
    num_pairs = {split: sum(f.num_pairs for f in findings if f.split == split) for split in ("train", "test")}
    parts = [
        _HEAD,
        "<h1>Data set</h1>",
        f"<p>{len(kept)} frames of {sum(f.num_frames > 0 for f in findings)} sources; {num_pairs['train']} pairs to"
        f" train with, {num_pairs['test']} to test with.</p>",
        '<div class="tables">',
        _table("Frames by shot type", ("type", "frames"), Counter(r.shot_type for r in kept).most_common()),
        _table("Pairs by blur", ("kernel", "pairs"), Counter(str(row.kernel) for row in rows).most_common()),
        _table("Left out", ("why", "shots or frames"), [(k, n) for k, n in left_out.most_common() if n]),
        "</div>",
        _sources(findings),
        _table("Failed", ("source", "why"), [(f.address, f.reason) for f in failures]),
        "<h2>Contact sheet</h2>",
        f"<p>{len(shown)} of {len(records)} frames, evenly spread.</p>" if len(shown) < len(records) else "",
        '<div class="sheet">',
        *(_figure(record, thumbs[record.frame_id], record.frame_id in dropped_ids) for record in shown),
        "</div></body></html>\n",
    ]
    return "\n".join(parts)


def _sources(findings: Sequence[Finding]) -> str:
    heads = ("source", "for", "frames", "pairs", "shots", "seconds", "licence", "left out")
    lines = [
        (
            f.source.title, f.split or "-", f.num_frames, f.num_pairs, f.scan.num_shots, f"{f.scan.duration_s:.0f}",
            f.source.licence, ", ".join(f"{num} {reason}" for reason, num in f.dropped.items()),
        )
        for f in findings
    ]  # fmt: skip
    return _table("Sources", heads, lines)


def _table(title: str, heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    cells = [[_cell("td", value) for value in line] for line in lines]
    if not cells:
        return ""
    head = "".join(_cell("th", name) for name in heads)
    body = "\n".join(f"<tr>{''.join(line)}</tr>" for line in cells)
    return f'<div><h2>{escape(title)}</h2><div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div></div>'


def _cell(tag: str, value: object) -> str:
    kind = ' class="n"' if isinstance(value, int) else ""
    return f"<{tag}{kind}>{escape(str(value))}</{tag}>"


def _figure(record: FrameRecord, thumb: Picture, is_dropped: bool) -> str:
    bgr = cv2.cvtColor(thumb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    minutes, seconds = divmod(record.timestamp_s, 60)
    words = [f"{record.source}, {int(minutes)}:{seconds:05.2f}", f"{record.shot_type} by {record.shot_type_by}"]
    words.append(f"sharpness {record.sharpness:.2f}")
    words += ["dropped in review"] if is_dropped else []
    caption = escape(" · ".join(words))
    kind = ' class="dropped"' if is_dropped else ""
    return (
        f'<figure{kind}><img src="{source}" alt="{escape(record.frame_id)}"><figcaption>{caption}</figcaption></figure>'
    )
