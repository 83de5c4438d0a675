"""Damaged pictures through `concertdeblur image`: read, or refused in one sentence."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from tests.campaign.isolation import Limits, command, isolated
from tests.campaign.mutations import damaged
from tests.campaign.record import Record, manners, masked, sentence_of
from tests.heic import heic
from tests.pictures import photograph

_LIMITS = Limits(wall_s=60, cpu_s=20)
_TARGETS = ("png", "png", "jpg", "webp", "tif", "avif", "bmp")
_HONEST = ("supported", "cannot hold", "is a video", "plays", "px in", "side")  # refusals of what Pillow reads

_DAMAGED = ("is cut off", "is damaged")  # half pictures and wrong checksums never pass in silence


def run(record: Record) -> None:
    """Each case: one picture, damaged, through one run."""
    kinds = sorted(_KINDS)
    folder = record.folder / "originals"
    folder.mkdir(parents=True, exist_ok=True)

    def make() -> bool:
        for name in kinds:
            (folder / name).write_bytes(_KINDS[name]())
        return True

    made = isolated(make, folder / "log", Limits(wall_s=300, cpu_s=200))
    assert made.result, made.stderr
    for number in record.numbers():
        name = kinds[number % len(kinds)]
        _case(record, number, folder / name, record.draw(number))


def _case(record: Record, number: int, original: Path, draw: random.Random) -> None:
    folder = record.case_folder(number)
    source, target = folder / f"in{original.suffix}", folder / f"out.{draw.choice(_TARGETS)}"
    changed, told = damaged(original.read_bytes(), original.suffix, draw)
    source.write_bytes(changed)
    ended = isolated(command("image", source, target, "--strength", 0), folder / "log", _LIMITS)
    kind, faults, is_readable = original.suffix[1:], manners(ended), False
    if not ended.death and ended.result["code"] == 0:
        after = isolated(lambda: _size(target), folder / "after", _LIMITS)
        faults += [] if after.result and after.result["size"] else [("output that does not decode", after.stderr)]
    elif not ended.death:
        before = isolated(lambda: _size(source), folder / "before", _LIMITS).result
        sentence = sentence_of(ended)
        is_readable = bool(before and before["size"]) and not any(words in sentence for words in _HONEST)
        if is_readable and not any(words in sentence for words in _DAMAGED):
            faults.append(("refused though readable", f"{before}: {masked(sentence)}"))
    left = [path.name for path in folder.iterdir() if path.is_file() and path not in (source, target)]
    faults += [("litter", " ".join(left))] if left else []
    for fault, detail in faults:
        record.found(number, f"{original.name}: {told} to {target.suffix}", fault, detail, [source, target])
    if faults:
        record.ended(kind, "fault")
    elif is_readable:
        record.ended(kind, "refused as damaged, which Pillow passes over")
    elif ended.result["code"]:
        record.refused(kind, sentence_of(ended))
    else:
        record.ended(kind, "done")


def _size(path: Path) -> dict[str, Any]:
    """Width and height, if Pillow decodes every picture of the file; else None and why."""
    try:
        with Image.open(path) as image:
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                image.load()
            return {"size": image.size}
    except Exception as error:
        return {"size": None, "why": repr(error)}


def _saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(photograph(48, 64))).save(stream, kind, **options)
    return stream.getvalue()


def _deep(suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, photograph(48, 64).astype(np.uint16) * 257)
    assert done
    return data.tobytes()


def _frames() -> list[Image.Image]:
    return [Image.fromarray(np.roll(photograph(48, 64), 9 * number, axis=1)) for number in range(3)]


def _animated(kind: str) -> bytes:
    first, *others = _frames()
    return _saved(kind, first, save_all=True, append_images=others, duration=40)


def _with_text() -> bytes:
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "loud")
    told.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>", zip=True)
    return _saved("PNG", Image.fromarray(photograph(48, 64)).convert("RGBA"), pnginfo=told, dpi=(300, 300))


def _exif() -> bytes:
    told = Image.Exif()
    told[0x0112], told[0x0110] = 6, "A camera"
    return told.tobytes()


_KINDS: dict[str, Callable[[], bytes]] = {
    "plain.jpg": lambda: _saved("JPEG", exif=_exif(), xmp=b"<x:xmpmeta/>", dpi=(300, 300)),
    "progressive.jpg": lambda: _saved("JPEG", progressive=True),
    "cmyk.jpg": lambda: _saved("JPEG", Image.fromarray(photograph(48, 64)).convert("CMYK")),
    "plain.png": _with_text,
    "deep.png": lambda: _deep(".png"),
    "palette.png": lambda: _saved("PNG", Image.fromarray(photograph(48, 64)).quantize(16), transparency=3),
    "animated.png": lambda: _animated("PNG"),
    "plain.webp": lambda: _saved("WEBP", exif=_exif()),
    "animated.webp": lambda: _animated("WEBP"),
    "plain.tif": lambda: _saved("TIFF", exif=_exif(), dpi=(300, 300)),
    "lzw.tif": lambda: _saved("TIFF", compression="tiff_lzw"),
    "deep.tif": lambda: _deep(".tif"),
    "pages.tif": lambda: _animated("TIFF"),
    "plain.avif": lambda: _saved("AVIF", exif=_exif()),
    "animated.avif": lambda: _animated("AVIF"),
    "animated.gif": lambda: _animated("GIF"),
    "plain.bmp": lambda: _saved("BMP"),
    "plain.heic": lambda: heic(photograph(48, 64), turns=1),
    "plain.jp2": lambda: _saved("JPEG2000"),
    "plain.ppm": lambda: _saved("PPM"),
}
