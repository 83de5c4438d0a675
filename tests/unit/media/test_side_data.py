"""Side data that PyAV's table has no name for."""

from pathlib import Path
from typing import Any

import av
from av.sidedata.sidedata import Type

from concertdeblur.media.side_data import lost_side_data
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from tests.clips import frames_of, picture

# an APP1 segment with one entry: orientation 1
EXIF = b"\xff\xe1\x00\x22Exif\0\0II*\0" + bytes.fromhex("08000000 0100 1201 0300 01000000 01000000 00000000")


def camera_clip(path: Path) -> Path:
    """Motion JPEG with EXIF in each frame, as cameras write it."""
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("mjpeg", rate=15)
        video.height, video.width, video.pix_fmt = 48, 64, "yuvj420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(picture(number, 48, 64), "rgb24")
            for packet in video.encode(frame.reformat(format="yuvj420p", dst_color_range=2)):
                data = bytes(packet)
                made: Any = av.Packet(data[:2] + EXIF + data[2:])
                made.pts = made.dts = packet.pts
                made.time_base, made.stream, made.is_keyframe = packet.time_base, video, True
                output.mux_one(made)
    return path


def test_exif_inside_frames_is_named_once_and_dropped(tmp_path: Path) -> None:
    source = camera_clip(tmp_path / "in.avi")
    summary = deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0))
    assert [warning for warning in summary.warnings if "EXIF" in warning] == [
        "in.avi: the EXIF data inside the frames is dropped"
    ]
    assert len(frames_of(tmp_path / "out.mp4")) == 5


def test_a_number_without_a_name_gets_one(tmp_path: Path) -> None:
    assert Type(31).name == "EXIF"
    assert Type(99) is Type(99)
    assert Type(99).name == "NUMBER_99"
    assert Type.DISPLAYMATRIX is Type(6)
    frame = frames_of(camera_clip(tmp_path / "in.avi"))[0]
    assert lost_side_data(frame) == ["the EXIF data inside the frames"]
