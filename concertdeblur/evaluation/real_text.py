"""The figures of real videos as tables of text, which the page and the Markdown show."""

from dataclasses import dataclass

from concertdeblur.evaluation.real_videos import RealReport, VideoFigures, VideoRefining

TITLE = "Real pairs, as videos"
ABOUT = (
    "Each frame is deblurred as 'video' deblurs it, and compared before any encoding, as 8 bits. PSNR in dB; gains are"
    " over the input; a mean is that of the frames, the last row's that of the clips. Behind a mean stands its 95 %"
    " bootstrap interval, resampled by blocks of frames, or by clips. All frames are measured, whether or not the"
    " networks have learned from them, so pairs that were given to 'train --real' should not be among them."
)
_MEAN = "mean of the clips"


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTable:
    """A table: the first column names the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def text_tables(real: RealReport) -> tuple[TextTable, ...]:
    """The tables: the gain, the figures of a video, and what BRMR did."""
    return _gains(real), _as_video(real), _refining(real)


def _gains(real: RealReport) -> TextTable:
    rows = []
    for one in real.sequences:
        fields = [_gain_text(one.figures[key]) for key in real.columns]
        size = f"{one.num_frames} of {one.width}x{one.height}"
        rows.append((one.name, size, one.blurred_db.text(), *fields))
    if len(rows) > 1:
        fields = [_gain_text(real.figures[key]) for key in real.columns]
        rows.append((_MEAN, str(sum(one.num_frames for one in real.sequences)), real.blurred_db.text(), *fields))
    return TextTable(
        title="PSNR; gain", columns=("clip", "frames", "blurred", *real.columns.values()), rows=tuple(rows)
    )


def _gain_text(figures: VideoFigures) -> str:
    return f"{figures.psnr_db.mean:.2f}; {figures.gain_db.text(sign=True)}"


def _as_video(real: RealReport) -> TextTable:
    rows = [(one.name, *(_video_text(one.figures[key]) for key in real.columns)) for one in real.sequences]
    if len(rows) > 1:
        rows.append((_MEAN, *(_video_text(real.figures[key], is_mean=True) for key in real.columns)))
    return TextTable(
        title="Gain of the worst frame; warping error over that of the input, by the motion of the sharp frames;"
        " seconds a frame",
        columns=("clip", *real.columns.values()),
        rows=tuple(rows),
    )


def _video_text(figures: VideoFigures, *, is_mean: bool = False) -> str:
    worst = f"{figures.worst.gain_db:+.2f}"
    if not is_mean:
        worst += f" (frame {figures.worst.frame})"
    return f"{worst}; {figures.warping_ratio:.2f}; {figures.seconds:.3f}"


def _refining(real: RealReport) -> TextTable:
    rows = [(one.name, *_refining_texts(one.refining)) for one in real.sequences]
    if len(rows) > 1:
        rows.append(("all frames", *_refining_texts(real.refining)))
    return TextTable(
        title="BRMR over its own iGAN, dB",
        columns=(
            "clip", "windows kept", "gain, all frames", "frames with a kept window", "gain of those", "worst frame"
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _refining_texts(found: VideoRefining) -> tuple[str, ...]:
    kept = f"{found.windows_kept} of {found.windows_tried}"
    if found.kept_share is not None:
        kept += f" ({100 * found.kept_share:.0f} %)"
    return (
        kept,
        found.gain_db.text(3, sign=True),
        f"{found.num_kept_frames} of {found.num_frames}",
        "-" if found.kept_gain_db is None else found.kept_gain_db.text(3, sign=True),
        f"{found.worst_db:+.3f}",
    )
