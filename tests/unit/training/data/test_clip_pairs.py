"""Pairs made of clips, as a source of training samples beside pictures and pairs of the data."""

import dataclasses
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from concertdeblur.blur.capture import CapturedPair
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.lent_motion import Motion
from concertdeblur.errors import SourceError, TrainingError
from concertdeblur.models.concert import BLUR_TYPES
from concertdeblur.training.data.clip_pairs import ClipSettings, MixedPairs, build_clip_store, find_clips
from concertdeblur.training.data.pairs import PairStore
from concertdeblur.training.data.pictures import PictureStore, build_store, read_contents, write_store
from concertdeblur.training.data.samples import SampleSettings, SampleStream
from concertdeblur.training.data.sequence_sources import SequenceSettings, build_sequence_store
from concertdeblur.training.data.sequences import read_sequence_contents
from tests.pictures import photograph
from tests.unit.blur.test_averaging import panning_clip

_SETTINGS = ClipSettings(averaged=2, lent=3, side_px=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, pictures and the store of the pictures."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "clips").mkdir()
    panning_clip(folder / "clips" / "pan.mp4", step_px=4)
    panning_clip(folder / "clips" / "still.mkv", step_px=0)
    (folder / "clips" / "notes.txt").write_text("no clip")
    (folder / "pictures").mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / "pictures" / f"{number}.png"), np.roll(photograph(320, 330), 90 * number, axis=1))
    build_store(folder / "pictures", folder / "store", min_side_px=256)
    return folder


def built(folder: Path, name: str, *, seed: int = 0, settings: ClipSettings = _SETTINGS) -> tuple[PairStore, list[str]]:
    told: list[str] = []
    build_clip_store(
        folder / "clips", folder / name, PictureStore(folder / "store", "train"), settings, seed=seed,
        pictures_sha256="0", tell=lambda what, done, total: told.append(f"{what} {done}/{total}"),
        on_warning=told.append,
    )  # fmt: skip
    return PairStore(folder / name, "train"), told


def test_pairs_come_of_the_clips_frames_and_of_their_motion(folder: Path) -> None:
    pairs, told = built(folder, "first")
    assert [pair.kernel for pair in pairs.pairs] == ["capture"] * len(pairs)
    averaged = [pair for pair in pairs.pairs if "pan.mp4" in pair.sharp.name]
    assert 1 <= len(averaged) <= 2
    assert len(pairs) == len(averaged) + 3
    assert {(pair.sharp.height, pair.sharp.width) for pair in averaged} == {(288, 300)}
    for number in range(len(pairs)):
        blurred, sharp = pairs.read(number)
        assert blurred.shape == sharp.shape
        assert not np.array_equal(blurred, sharp)
    assert [line for line in told if "gives no pair" in line] == [
        f"{folder / 'clips' / 'still.mkv'}: gives no pair: it is still, full of cuts, or soft"
    ]
    assert told[-1] == "lend motion 3/3"
    assert built(folder, "first")[1] == []  # there already


def write_bad_clips(folder: Path) -> None:
    """One that is cut off, one that is text, one of sound alone, and one that is too small."""
    whole = panning_clip(folder / "whole.mp4", step_px=4).read_bytes()
    (folder / "cut off.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "whole.mp4").unlink()
    (folder / "text.mkv").write_text("no clip")
    with av.open(str(folder / "sound.mp4"), "w") as output:
        sound = output.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        output.mux([*sound.encode(frame), *sound.encode(None)])
    with av.open(str(folder / "tiny.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "bgr0"
        for number in range(20):
            picture = np.roll(photograph(8, 40), number, axis=1)[:, :8]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        output.mux(stream.encode())


def test_clips_that_cannot_be_used_are_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write_bad_clips(tmp_path / "clips")
    panning_clip(tmp_path / "clips" / "pan.mp4", step_px=4)
    told: list[str] = []
    build_clip_store(
        tmp_path / "clips", tmp_path / "made", PictureStore(folder / "store", "train"), _SETTINGS, seed=0,
        pictures_sha256="0", on_warning=told.append,
    )  # fmt: skip
    assert len(PairStore(tmp_path / "made", "train")) >= 1 + _SETTINGS.lent
    left_out = [Path(line.split(": ")[0]).name for line in told if line.endswith("; the clip is left out")]
    assert (
        left_out
        == ["cut off.mp4", "sound.mp4", "text.mkv", "tiny.mkv"]
        == [Path(line.split(": ")[0]).name for line in told]
    )
    told.clear()
    build_sequence_store(
        tmp_path / "sequences", SequenceSettings(least_side_px=128, held_out_share=0.1, most_frames=99, num_copies=0),
        real=None, clips=find_clips(tmp_path / "clips"), seed=0, on_warning=told.append,
    )  # fmt: skip
    assert read_sequence_contents(tmp_path / "sequences").num_sequences > 0
    assert [Path(line.split(": ")[0]).name for line in told] == ["cut off.mp4", "sound.mp4", "text.mkv"]


def test_the_same_seed_gives_the_same_store(folder: Path) -> None:
    built(folder, "first")
    built(folder, "again")
    built(folder, "other", seed=1)
    first, again, other = (read_contents(folder / name).sha256 for name in ("first", "again", "other"))
    assert first == again != other


def test_few_motions_are_held_and_they_come_of_all_the_clips(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[weakref.ref[np.ndarray]] = []
    most_held, lent = 0, []

    def long_clip(_path: Path, **_: object) -> Iterator[Motion]:
        nonlocal most_held
        for _number in range(400):
            offsets = np.full((1, 1, 1, 2), len(given), np.float32)
            given.append(weakref.ref(offsets))
            most_held = max(most_held, sum(one() is not None for one in given))
            yield Motion(offsets)

    def remembered(motion: Motion, picture: Picture, _rng: np.random.Generator) -> CapturedPair:
        lent.append(int(motion.offsets.max()))
        return CapturedPair(picture, picture)

    monkeypatch.setattr("concertdeblur.training.data.clip_pairs.motions", long_clip)
    monkeypatch.setattr("concertdeblur.training.data.clip_pairs.lend", remembered)
    built(folder, "long", settings=ClipSettings(averaged=0, lent=40, side_px=256))
    assert len(given) == 800
    assert most_held <= 42  # those that are kept, the one that is offered, and the next one
    assert len(lent) == 40
    assert len(set(lent)) > 15
    assert 200 < np.mean(lent) < 600  # neither the first ones nor the last ones


def test_a_stop_leaves_nothing_half_written(folder: Path) -> None:
    def stop(what: str, done: int, _total: int) -> None:
        if (what, done) == ("lend motion", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_clip_store(
            folder / "clips", folder / "stopped", PictureStore(folder / "store", "train"), _SETTINGS, seed=0,
            pictures_sha256="0", tell=stop,
        )  # fmt: skip
    assert not list(folder.glob("stopped*"))


def test_samples_have_their_share_of_them(folder: Path) -> None:
    pairs, _ = built(folder, "first")
    none = PairStore(folder / "store", "train")
    mixed = MixedPairs([none, pairs, pairs], [0.5, 0.1, 0.3])
    assert all(mixed.pair(number).kernel == "capture" for number in range(len(mixed)))  # one of `none` gets no turn
    settings = dataclasses.replace(
        SampleSettings(sharp_share=1, capture_share=0, noise_share=0, jpeg_share=0), pair_share=0.25
    )
    stream = SampleStream(PictureStore(folder / "store", "train"), settings, seed=0, batch_size=32, pairs=mixed)
    types = [index for step in range(2) for index in stream.batch(step).type_N.tolist()]
    assert 6 <= types.count(BLUR_TYPES.index("capture")) <= 28  # of 64
    assert types.count(0) + types.count(BLUR_TYPES.index("capture")) == 64


def pairs_named(tmp_path: Path, name: str, count: int) -> PairStore:
    """A store of tiny pairs, each of its own brightness."""
    folder = tmp_path / name
    folder.mkdir()
    pictures = [np.full((1, 1, 3), number, np.uint8) for number in range(count)]
    made = [(f"{name}{number}", CapturedPair(picture, picture)) for number, picture in enumerate(pictures)]
    write_store(folder, made, origin={})
    return PairStore(folder, "train")


@pytest.mark.parametrize(("first", "second"), [(250, 3), (7, 40), (1, 1)])
def test_every_pair_has_its_turns_and_each_kind_its_share(tmp_path: Path, first: int, second: int) -> None:
    stores = [pairs_named(tmp_path, "few", first), pairs_named(tmp_path, "most", second)]
    mixed = MixedPairs(stores, [0.02, 0.98])
    turns = Counter(mixed.pair(number).sharp.name for number in range(len(mixed)))
    assert len(turns) == first + second
    for name, share in (("few", 0.02), ("most", 0.98)):
        of_kind = [count for pair, count in turns.items() if pair.startswith(name)]
        assert sum(of_kind) == pytest.approx(share * len(mixed), rel=0.01)
        assert max(of_kind) <= 1.01 * min(of_kind)
    for number in (0, len(mixed) // 100, len(mixed) - 1):  # what is read is the pair that is named
        name = mixed.pair(number).sharp.name
        assert name.startswith(("few", "most"))
        assert mixed.read(number)[1].ravel()[0] == int(name.removeprefix("few").removeprefix("most").split(",")[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "no clips at .*: name a folder of clips with --clips"),
        (lambda clips: clips.mkdir(), "no clips found"),
        (lambda clips: (clips.mkdir(), (clips / "a.mp4").write_bytes(b"no clip")), "give no pair"),
        (lambda clips: (clips.mkdir(), panning_clip(clips / "a.mp4", step_px=0)), "give no pair"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, folder: Path, make: object, message: str) -> None:
    assert callable(make)
    make(tmp_path / "clips")
    with pytest.raises((TrainingError, SourceError), match=message) as caught:
        build_clip_store(
            tmp_path / "clips", tmp_path / "made", PictureStore(folder / "store", "train"), _SETTINGS, seed=0,
            pictures_sha256="0",
        )  # fmt: skip
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("made*"))


@pytest.mark.parametrize(
    "bad", [{"share": 0}, {"share": 1.5}, {"lent": -1}, {"averaged": 0, "lent": 0}, {"side_px": 128}]
)
def test_bad_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        ClipSettings(**bad)  # type: ignore[arg-type]
