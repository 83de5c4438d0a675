"""Encoders by the names that users give: what FFmpeg calls them, and their quality options."""

import re
from dataclasses import dataclass

import av
from av.codec.codec import UnknownCodecError

from concertdeblur.cpus import has_avx512
from concertdeblur.errors import UsageError
from concertdeblur.frame import HdrMetadata
from concertdeblur.media.hdr import encoder_parameters

_HARDWARE = re.compile(r"(h264|hevc|av1)_(nvenc|qsv|vaapi|amf|videotoolbox|mf|v4l2m2m)")
_SOFTWARE = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "ffv1": "ffv1", "prores": "prores_ks"}
# other names that people know
_ALIASES = {
    "h264": ("x264", "libx264", "h.264", "avc", "avc1"),
    "hevc": ("x265", "libx265", "h265", "h.265", "hvc1", "hev1"),
    "av1": ("libsvtav1", "svtav1", "svt-av1", "av01"),
    "prores": ("prores_ks", "prores_aw"),
}
_CANONICAL = {alias: codec for codec, aliases in _ALIASES.items() for alias in aliases}
_WITHOUT_QUALITY = {"ffv1": "ffv1 is lossless: it", "prores": "prores has a fixed quality: it"}
_FRACTIONAL = ("h264", "hevc", "av1", "h264_nvenc", "hevc_nvenc", "av1_nvenc")  # crf need not be whole
_DEFAULT_CRF = {"h264": 18, "hevc": 20, "av1": 27}  # about the same loss to the eye; near transparent
_DEFAULT_PRESET = {"h264": "medium", "hevc": "medium", "av1": "8"}
_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_MAX_CRF = {"h264": 51, "hevc": 51, "av1": 63}


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSettings:
    """What a user decides about encoding."""

    codec: str = "h264"  # h264, hevc, av1, ffv1, prores, or a hardware encoder such as h264_nvenc
    crf: float | None = None  # None: the codec's default; lower is better and larger
    preset: str | None = None
    num_threads: int = 0  # 0: as many as there are cores

    def __post_init__(self) -> None:
        if self.codec not in _SOFTWARE and not _HARDWARE.fullmatch(self.codec):
            raise UsageError(
                f"unknown codec '{self.codec}'; choose {', '.join(_SOFTWARE)}, or a hardware encoder such as h264_nvenc"
            )
        if self.codec in _WITHOUT_QUALITY and (self.crf is not None or self.preset is not None):
            raise UsageError(f"{_WITHOUT_QUALITY[self.codec]} takes neither crf nor preset")
        most = _MAX_CRF.get(self.codec.split("_")[0], 51)
        if self.crf is not None and not 0 <= self.crf <= most:
            raise UsageError(f"crf must lie between 0 and {most} for {self.codec}, but it is {self.crf:g}")
        if self.crf is not None and self.codec not in _FRACTIONAL and self.crf != int(self.crf):
            raise UsageError(f"crf must be a whole number for {self.codec}, but it is {self.crf:g}")
        self._check_preset()

    def _check_preset(self) -> None:
        if self.preset is None:
            return
        if self.codec in ("h264", "hevc") and self.preset not in _X26X_PRESETS:
            raise UsageError(f"unknown preset '{self.preset}' for {self.codec}; choose {', '.join(_X26X_PRESETS)}")
        if self.codec == "av1" and self.preset not in map(str, range(14)):
            raise UsageError(f"the preset for av1 must be a number from 0 (slow) to 13, but it is '{self.preset}'")

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return _SOFTWARE.get(self.codec, self.codec)

    @property
    def is_hardware(self) -> bool:
        """Whether it needs a graphics processor or another device."""
        return self.codec not in _SOFTWARE

    def options(self, hdr: HdrMetadata | None = None) -> dict[str, str]:
        """The encoder's private options, as FFmpeg spells them."""
        parameters = encoder_parameters(hdr, self.encoder) if hdr else []
        if self.codec == "prores":
            return {}
        if self.codec == "ffv1":
            return {"level": "3", "slicecrc": "1", "g": "1"}
        preset = self.preset or _DEFAULT_PRESET.get(self.codec)
        options = {"preset": preset} if preset else {}
        if self.is_hardware:
            return options | self._hardware_quality()
        options["crf"] = self._quality(self.codec)
        if self.codec == "h264":
            parameters = [*_reproducible(), *parameters]
        if self.codec == "hevc":
            options["x265-params"] = ":".join(["log-level=none", *parameters])  # without this it prints
        elif parameters:
            options["x264-params" if self.codec == "h264" else "svtav1-params"] = ":".join(parameters)
        return options

    def _quality(self, name: str) -> str:
        return f"{self.crf if self.crf is not None else _DEFAULT_CRF[name]:g}"

    def _hardware_quality(self) -> dict[str, str]:
        name, device = self.codec.split("_")
        quality = self._quality(name)
        by_device = {
            "nvenc": {"rc": "vbr", "cq": quality},
            "qsv": {"global_quality": quality},
            "vaapi": {"qp": quality},
            "amf": {"rc": "cqp", "qp_i": quality, "qp_p": quality},
        }
        return by_device.get(device, {})


def _reproducible() -> list[str]:
    """Options of x264 with which the same frames give the same bytes.

    With AVX-512 its macroblock tree reads memory that was never written: of 12 runs over one clip of 320x180, six gave
    other bytes. With AVX2 none did.
    """
    return ["asm=AVX2"] if has_avx512() else []


def canonical_codec(name: str) -> str:
    """A codec by the name that this program uses: x265 and libx265 are hevc; an unknown name stays as it is."""
    return _CANONICAL.get(name.lower(), name.lower())


def supported_pixel_formats(encoder: str) -> tuple[str, ...] | None:
    """The pixel formats that an encoder of PyAV's build takes; None if there is no such encoder."""
    try:
        formats = av.Codec(encoder, "w").video_formats
    except UnknownCodecError:
        return None
    return tuple(video_format.name for video_format in formats or ())


def available_codecs() -> tuple[str, ...]:
    """The codec names whose encoders PyAV's build contains; hardware ones may still lack their device."""
    hardware = [f"{name}_{device}" for name in ("h264", "hevc", "av1") for device in ("nvenc", "qsv", "vaapi", "amf")]
    present = [codec for codec in (*_SOFTWARE, *hardware) if supported_pixel_formats(_SOFTWARE.get(codec, codec))]
    return tuple(present)
