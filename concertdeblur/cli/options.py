"""Command-line parts: times as exact fractions, options under headings, and those that every command takes."""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(?:([0-9]+):)?([0-9]+):)?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_HARDWARE = ("h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "h264_vaapi", "hevc_vaapi")


class ClockTime(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A time within a clip: seconds, or [[HH:]MM:]SS.mmm; parsed without rounding."""

    name = "time"

    @staticmethod
    def is_time(text: str) -> bool:
        """Whether a text is written like a time."""
        return _CLOCK.fullmatch(text.strip()) is not None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        """Seconds as an exact fraction; a usage error for anything else."""
        if isinstance(value, Fraction):
            return value
        match = _CLOCK.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no time; write seconds (12.5) or [[HH:]MM:]SS.mmm (1:02:03.5)", param, ctx)
        hours, minutes, seconds = match.groups()
        exact_s = Fraction(seconds)
        if minutes is not None and exact_s >= 60:
            self.fail(f"{value!r} has {seconds} seconds after its minutes; the most is 59.999...", param, ctx)
        if hours is not None and int(minutes) >= 60:
            self.fail(f"{value!r} has {minutes} minutes after its hours; the most is 59", param, ctx)
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + exact_s


class OpenChoice(click.ParamType):  # type: ignore[type-arg]
    """A text that shell completion offers names for; the library refuses what it does not know."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self._known = known

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The known names that begin like what is typed."""
        return [CompletionItem(known) for known in self._known if known.startswith(incomplete)]


class Pair(click.ParamType):  # type: ignore[type-arg]
    """A pair written as one text, as a size or a named folder.

    Args:
        name: How it is written.
        pattern: A regular expression that all of the text must match, with two groups.
        made: Makes the pair, a tuple, of the two groups.
        noun: The noun for the pair in the error message.
        example: A correct one, for the error message.
    """

    def __init__(self, name: str, pattern: str, made: Callable[[str, str], Any], *, noun: str, example: str) -> None:
        self.name = name
        self._pattern = re.compile(pattern, re.DOTALL)
        self._made = made
        self._complaint = f"is no {noun}; write {name}, as {example}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The pair of both parts; a usage error for a text that does not match."""
        if isinstance(value, tuple):
            return value
        match = self._pattern.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} {self._complaint}", param, ctx)
        return self._made(*match.groups())


CODEC = OpenChoice("codec", ("h264", "hevc", "av1", "ffv1", "prores", *_HARDWARE))
FILE = click.Path(path_type=Path)
# `media` knows which clips are read, but importing it takes long
_CLIPS = frozenset(
    [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"]
)
_PICTURES = frozenset([".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif", ".gif"])


class LocalPath(click.ParamType):  # type: ignore[type-arg]
    """A file or folder of this machine; an address or `-` is refused by name."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; a usage error for a text that is no path."""
        text = str(value)
        if text == "-":
            self.fail("'-' is not supported: files are read and written more than once; name a file", param, ctx)
        if _URL.match(text):
            self.fail(f"{text!r} is an address, and only files of this machine are read; download it first", param, ctx)
        return Path(text)

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Files."""
        return [CompletionItem(incomplete, type="file")]


LOCAL_FILE = LocalPath()


def command_for(name: str) -> str:
    """The command for a file whose name stands in a command's place; empty if it is no file's name."""
    path = Path(name)
    if path.suffix.lower() in _PICTURES:
        return "image"
    if path.is_dir():
        kinds = {each.suffix.lower() for each in path.iterdir()}
        return "image" if kinds & _PICTURES and not kinds & _CLIPS else "video"
    is_file = path.suffix.lower() in _CLIPS or path.exists() or _URL.match(name)
    return "video" if is_file else ""


_DEBUG = "concertdeblur.debug"
_DEVICE = OpenChoice("device", ("auto", "cpu", "cuda"))


class GroupedOption(click.Option):
    """An option that says under which heading its help stands."""

    def __init__(self, *args: Any, heading: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose help shows its options under their headings, in order of appearance."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one block of help for each heading."""
        blocks: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                blocks.setdefault(getattr(param, "heading", "Help"), []).append(record)
        for heading, records in sorted(blocks.items(), key=lambda block: block[0] == "Help"):
            with formatter.section(heading):
                formatter.write_dl(records)


def option(heading: str, *names: str, **settings: Any) -> Decorator:
    """An option, listed under a heading."""
    return click.option(*names, cls=GroupedOption, heading=heading, **settings)


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, shown in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


def weights_option(heading: str, text: str = "A shipped weight set, or the folder of your own.") -> Decorator:
    """The option `--weights` with its default."""
    return option(heading, "--weights", default="concert", show_default=True, metavar="NAME|FOLDER", help=text)


def device_option(
    heading: str, text: str = "What the networks run on; auto takes a CUDA GPU if there is one."
) -> Decorator:
    """The option `--device`."""
    return option(
        heading, "--device", type=_DEVICE, default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help=text
    )


def backend_option(heading: str, text: str = "auto takes OpenVINO on a CPU if it is installed.") -> Decorator:
    """The option `--backend`."""
    return option(
        heading, "--backend", type=click.Choice(["auto", "torch", "openvino"]), default="auto", show_default=True,
        help=text,
    )  # fmt: skip


def is_debugging() -> bool:
    """Whether the command in hand was given --debug."""
    return bool(click.get_current_context().meta.get(_DEBUG))


def _remember_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta[_DEBUG] = value
    return value


debugging = option(
    "Reporting", "--debug", is_flag=True, expose_value=False, callback=_remember_debug,  # `cli.Program.main` looks too
    help="Write the traceback of an error, for a bug report.",
)  # fmt: skip
reporting = together(
    option("Reporting", "--json", "as_json", is_flag=True, help="Write one JSON event a line on standard output."),
    option("Reporting", "--quiet", is_flag=True, help="Write nothing but errors."),
    debugging,
)


def refuse_both(as_json: bool, quiet: bool) -> None:
    """Events or silence.

    Raises:
        click.UsageError: If both are asked for.
    """
    if as_json and quiet:
        raise click.UsageError("--json and --quiet do not go together.")


deblurring_options = together(
    option(
        "Deblurring", "--strength", type=float, default=1, show_default=True, metavar="0..1",
        help="How much of the change is applied: output = input + strength x (deblurred - input);"
        " 0 only encodes again.",
    ),
    option(
        "Deblurring", "--no-refine", is_flag=True,
        help="Leave out the refining of windows that are still blurred: faster.",
    ),
    option(
        "Deblurring", "--quality", type=click.Choice(["auto", "best", "fast"]), default="auto", show_default=True,
        help="Which shipped weight set; auto is best, but fast for a clip that would take more than half an hour"
        " without a GPU.",
    ),
    option(
        "Deblurring", "--weights", metavar="NAME|FOLDER",
        help="A shipped weight set, or the folder of your own.  [default: by the quality]",
    ),
    device_option("Deblurring"),
    backend_option("Deblurring"),
)  # fmt: skip
cluster_option = option(
    "Cluster", "--cluster", metavar="auto|HOST:PORT",
    help="Spread the work over a Ray cluster: the one that this machine belongs to, or the one with this head.",
)  # fmt: skip
overwrite_option = option("Output", "--overwrite", is_flag=True, help="Replace output files that exist already.")
