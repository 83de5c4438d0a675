"""The command `video`: options become a job, which is done for one clip, for several clips, or for a preview."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concertdeblur.cli.display import Display, run_facts
from concertdeblur.cli.exits import warn_of_failure
from concertdeblur.cli.options import (
    CODEC,
    FILE,
    LOCAL_FILE,
    ClockTime,
    GroupedCommand,
    cluster_option,
    deblurring_options,
    is_debugging,
    option,
    overwrite_option,
    reporting,
    together,
)
from concertdeblur.cli.runs import shown_run

if TYPE_CHECKING:
    import threading

    from concertdeblur.pipelines.cluster_batch import ClusterOptions
    from concertdeblur.pipelines.video_job import VideoJob

PREVIEW_MIDDLE = "middle"


class PreviewTime(ClockTime):
    """A time, or nothing, which means the middle."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds, or `PREVIEW_MIDDLE`."""
        return value if value == PREVIEW_MIDDLE else super().convert(value, param, ctx)


class VideoCommand(GroupedCommand):
    """The command `video`, whose `--preview` may stand without a time, before a file's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, after `--preview NAME` has become `--preview=middle NAME`."""
        made: list[str] = []
        for number, arg in enumerate(args):
            following = args[number + 1] if number + 1 < len(args) else ""
            is_bare = arg == "--preview" and not ClockTime.is_time(following) and "--" not in made
            made.append(f"--preview={PREVIEW_MIDDLE}" if is_bare else arg)
        return super().parse_args(ctx, made)


@click.command(cls=VideoCommand)
@click.argument("names", metavar="IN... [OUT]", type=LOCAL_FILE, nargs=-1, required=True)
@deblurring_options
@together(
    option(
        "Input",
        "--start",
        "start_s",
        type=ClockTime(),
        metavar="TIME",
        help="Begin here, counted from the first frame: seconds (12.5) or [[HH:]MM:]SS.mmm.  [default: the beginning]",
    ),
    option(
        "Input",
        "--end",
        "end_s",
        type=ClockTime(),
        metavar="TIME",
        help="End before this time.  [default: the end]",
    ),
    option(
        "Input",
        "--video-stream",
        type=int,
        metavar="N",
        help="Index of the video stream to deblur; the others are copied.  [default: the largest]",
    ),
    option(
        "Input",
        "--reader",
        type=click.Choice(["pyav", "decord"]),
        default="pyav",
        show_default=True,
        help="What decodes; decord takes 8-bit progressive clips only.",
    ),
    option("Input", "--deinterlace", is_flag=True, help="Take interlaced clips, which are refused otherwise."),
    option("Input", "--recursive", is_flag=True, help="Take the clips of a folder's subfolders, too."),
    option("Input", "--strict", is_flag=True, help="Fail at a broken frame instead of repeating the last good one."),
)
@together(
    option(
        "Deblurring", "--refine", "refine_share", type=float, metavar="0..1",
        help="How much of a frame is refined, the most blurred windows first; 1 is the whole frame, and more is sharper"
        " and slower.  [default: the weight set's]",
    ),
    option(
        "Output", "--codec", type=CODEC, metavar="h264|hevc|av1|ffv1|prores|...",
        help="ffv1 is lossless, prores is for mov; hardware encoders have FFmpeg's names, such as h264_nvenc."
        "  [default: h264; av1 in webm]",
    ),
    option(
        "Output", "--crf", type=float, metavar="N",
        help="Quality: lower is better and larger, 0 to 51 (av1: 63).  [default: 18 h264, 20 hevc, 27 av1]",
    ),
    option(
        "Output", "--preset", metavar="NAME",
        help="Encoder effort: ultrafast ... placebo; av1: 0 (slow) to 13.  [default: medium; av1: 8]",
    ),
    option(
        "Output", "--writer", type=click.Choice(["pyav", "ffmpeg"]), default="pyav", show_default=True,
        help="What encodes; ffmpeg is the program on PATH, for encoders that PyAV lacks.",
    ),
    option(
        "Output", "--compatible", is_flag=True,
        help="Write a file that plays everywhere: mp4 with 8-bit 4:2:0 h264, and sound as aac.",
    ),
    option(
        "Output", "--audio", type=click.Choice(["copy", "aac", "opus", "flac", "drop"]), default="copy",
        show_default=True, help="Copy sound as it is, convert sound of another kind, or leave it out.",
    ),
    option(
        "Output", "--drop-streams", is_flag=True,
        help="Leave out sound that the output's container cannot hold, instead of failing.",
    ),
    option(
        "Output", "--heatmap", type=FILE, metavar="FILE",
        help="Write a second video that shows in colours what is still blurred.",
    ),
    option(
        "Output", "--compare", type=FILE, metavar="FILE",
        help="Write another video with before and after side by side.",
    ),
    option(
        "Output", "--preview", is_flag=False, flag_value=PREVIEW_MIDDLE, type=PreviewTime(), metavar="[TIME]",
        help="Deblur one second in the middle, or the frame at TIME; write a picture of before and after, and estimate"
        " how long the whole takes.",
    ),
    option(
        "Output", "--keep-date/--no-keep-date", default=None,
        help="Give the output the input's file date.  [default: with several clips]",
    ),
    option(
        "Output", "--skip-existing", is_flag=True,
        help="Skip a clip whose output exists; with several clips this is always so.",
    ),
    overwrite_option,
    option(
        "Output", "--restart", is_flag=True,
        help="Begin anew, without the segments of a clip that an earlier run of this command has done.",
    ),
)  # fmt: skip
@together(
    cluster_option,
    option(
        "Cluster", "--ship-source", is_flag=True,
        help="Send clips to the workers and segments back, where they see no folder of this machine.",
    ),
    option(
        "Cluster", "--retries", type=int, default=3, show_default=True, metavar="N",
        help="How often a segment that fails is tried again.",
    ),
)  # fmt: skip
@reporting
def video(
    names: tuple[Path, ...], *, no_refine: bool, recursive: bool, skip_existing: bool, preview: Fraction | str | None,
    cluster: str | None, ship_source: bool, retries: int, as_json: bool, quiet: bool, **choices: Any,
) -> None:  # fmt: skip
    """Deblur a clip, several, or folders of clips.

    IN is a clip, OUT the file to write: mp4, m4v, mov, mkv or webm, by its name. Without OUT, it is IN with
    '.deblurred' in its name. With several clips, or a folder, OUT is a folder, and a clip that fails stops no other.
    Sound, subtitles, chapters, tags and every time stamp are kept. Ctrl-C leaves no half file, and the same command
    goes on with a long clip that was stopped.
    """
    if skip_existing and choices["overwrite"]:
        raise click.UsageError("--skip-existing and --overwrite do not go together.")
    if cluster is None and ship_source:
        raise click.UsageError("--ship-source goes with --cluster.")
    sources, target = (names, None) if len(names) == 1 else (names[:-1], names[-1])
    with shown_run(as_json=as_json, quiet=quiet) as (shown, stop):
        from concertdeblur.pipelines.video_batch import find_items
        from concertdeblur.pipelines.video_job import VideoJob

        job = VideoJob(refine=not no_refine, **choices)
        if preview is not None:
            _preview(sources, target, job, None if preview == PREVIEW_MIDDLE else preview, shown)
            return
        is_batch = len(sources) > 1 or sources[0].is_dir()
        items = find_items(sources, target, recursive=recursive, as_mp4=job.compatible)
        told = target if is_batch else items[0].target
        shown.start(run_facts("video", job, source=sources[0] if len(sources) == 1 else list(sources), target=told))
        if cluster is not None:
            from concertdeblur.pipelines.cluster_batch import ClusterOptions

            options = ClusterOptions(address=cluster, ships_source=ship_source, num_retries=retries)
            _run_on_cluster(items, job, options, shown, stop, is_batch=is_batch or skip_existing)
            return
        if is_batch or skip_existing:
            _run_batch(items, job, shown, stop)
            return
        from concertdeblur.pipelines.deblur_video import deblur_video

        job = replace(job, fits_sound=target is None or target.is_dir())
        made = deblur_video(
            items[0].source, items[0].target, job, on_progress=shown.progress, on_warning=shown.warning,
            on_note=shown.note, stop=stop,
        )  # fmt: skip
        shown.done(made)


def _run_batch(items: Any, job: "VideoJob", shown: Display, stop: "threading.Event") -> None:
    from concertdeblur.pipelines.video_batch import BatchSummary, deblur_batch

    debug = is_debugging()
    for summary in deblur_batch(
        items, job, on_progress=shown.progress, on_warning=shown.warning, on_note=shown.note,
        on_failure=lambda source, error: warn_of_failure(shown, source, error, debug=debug), stop=stop,
    ):  # fmt: skip
        if isinstance(summary, BatchSummary):
            shown.batch(summary)
        else:
            shown.done(summary)


def _run_on_cluster(
    items: Any, job: "VideoJob", options: "ClusterOptions", shown: Display, stop: "threading.Event", *, is_batch: bool
) -> None:
    from concertdeblur.pipelines.cluster_batch import deblur_on_cluster
    from concertdeblur.pipelines.video_batch import BatchSummary

    debug = is_debugging()
    for summary in deblur_on_cluster(
        items, job, options, is_batch=is_batch, on_progress=shown.progress, on_warning=shown.warning,
        on_note=shown.note, on_failure=lambda source, error: warn_of_failure(shown, source, error, debug=debug),
        stop=stop,
    ):  # fmt: skip
        if not isinstance(summary, BatchSummary):
            shown.done(summary)
        elif is_batch:
            shown.batch(summary)


def _preview(sources: tuple[Path, ...], target: Path | None, job: "VideoJob", time_s: Any, shown: Display) -> None:
    from concertdeblur.pipelines.preview import preview, preview_target

    if len(sources) > 1:
        raise click.UsageError("--preview shows one clip; name one.")
    picture = preview_target(sources[0], target)
    shown.start(run_facts("video", job, source=sources[0], target=picture))
    shown.done(preview(sources[0], picture, job, time_s=time_s, on_progress=shown.progress, on_warning=shown.warning))
