"""Frames to deblurred frames: any size, no seams, the promises to users."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concertdeblur.deblurring import guard, tiles
from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.deblurring.guard import bounded_colours, guarded
from concertdeblur.deblurring.tensors import quantised, to_host, to_tensor
from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame, Pixels
from concertdeblur.models.spectrum import luma
from tests.networks import SMALL_PAPER, random_deblurrer, random_networks
from tests.pictures import photograph

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def deblurrer() -> Deblurrer:
    return random_deblurrer()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 5), (64, 64), (129, 257), (300, 411)])
def test_any_size_comes_back_in_its_size(deblurrer: Deblurrer, size: tuple[int, int]) -> None:
    made = deblurrer.deblur_picture(photograph(*size), DeblurOptions(heatmap=True))
    assert made.pixels.shape == (*size, 3)
    assert made.pixels.dtype == np.uint8
    assert made.heatmap is not None
    assert made.heatmap.shape == size
    assert 0 <= made.heatmap.min() <= made.heatmap.max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_pixel_type_gives_the_same_picture(deblurrer: Deblurrer, dtype: Any) -> None:
    reference = photograph(96, 96)
    full = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    given = (reference.astype(np.float64) / 255 * full).round(0 if full > 1 else 9).astype(dtype)
    made = deblurrer.deblur(given)
    assert isinstance(made, np.ndarray)
    assert made.dtype == dtype
    expected = deblurrer.deblur(reference)
    assert isinstance(expected, np.ndarray)
    assert np.abs(made / full - expected / 255).max() < 1.01 / 255


def test_tensors_and_batches(deblurrer: Deblurrer) -> None:
    pictures = np.stack([photograph(64, 80), photograph(64, 80)[:, ::-1]])
    as_array = deblurrer.deblur(pictures)
    as_tensor = deblurrer.deblur(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    assert isinstance(as_tensor, torch.Tensor)
    assert as_tensor.shape == (2, 3, 64, 80)
    assert np.abs(as_tensor.permute(0, 2, 3, 1).numpy() * 255 - as_array).max() <= 0.51
    one = deblurrer.deblur(torch.from_numpy(pictures[0]).permute(2, 0, 1).float() / 255)
    assert isinstance(one, torch.Tensor)
    assert torch.equal(one, as_tensor[0])


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int32),
        np.zeros((1, 1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 4), np.uint8),
        np.zeros((0, 4, 4, 3), np.int32),
        torch.zeros(1, 4, 4),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(deblurrer: Deblurrer, frames: Any) -> None:
    with pytest.raises(UsageError):
        deblurrer.deblur(frames)


def test_an_empty_batch_gives_an_empty_one(deblurrer: Deblurrer) -> None:
    made = deblurrer.deblur(np.zeros((0, 8, 9, 3), np.uint16))
    assert made.shape == (0, 8, 9, 3)
    assert made.dtype == np.uint16
    tensor = deblurrer.deblur(torch.zeros(0, 3, 8, 9, dtype=torch.float16))
    assert tensor.shape == (0, 3, 8, 9)
    assert tensor.dtype == torch.float16


@pytest.mark.parametrize("share", [-1.0, 1.1, float("nan")])
def test_a_share_to_refine_outside_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="refine_share"):
        DeblurOptions(refine_share=share)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_outside_is_refused(deblurrer: Deblurrer, strength: float) -> None:
    with pytest.raises(UsageError, match="strength"):
        deblurrer.deblur(photograph(8, 8), strength=strength)


def test_strength_is_linear_and_zero_is_identity(deblurrer: Deblurrer) -> None:
    picture = photograph(120, 136).astype(np.float32) / np.float32(255)
    full = deblurrer.deblur(picture)
    half = deblurrer.deblur(picture, strength=0.5)
    assert np.abs(full - picture).max() > 2 / 255  # the random networks do change it
    assert np.abs(half - (picture + full) / 2).max() < 1e-5
    assert deblurrer.deblur(picture, strength=0) is picture


def test_tiles_give_the_same_as_the_whole_frame(deblurrer: Deblurrer, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photograph(300, 500).astype(np.float32) / np.float32(255)
    whole = deblurrer.deblur(picture, refine=False)
    monkeypatch.setattr(tiles, "_TILE_PX", 96)
    tiled = deblurrer.deblur(picture, refine=False)
    assert np.abs(tiled - whole).max() < 1e-5


def test_tiles_of_a_network_that_sees_its_whole_tile_have_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instance norm gives every tile another level; blending must not show an edge."""
    paper = Deblurrer(random_networks(SMALL_PAPER), BrmrSettings(), random_deblurrer().runtime)
    ramp = np.repeat(np.linspace(0.2, 0.8, 1024, dtype=np.float32)[None, :, None], 3, axis=2)
    picture = np.repeat(ramp, 256, axis=0) + np.float32(0.02) * photograph(256, 1024).astype(np.float32) / np.float32(
        255
    )
    monkeypatch.setattr(tiles, "_TILE_PX", 200)
    made = paper.deblur(picture, refine=False)
    steps = np.abs(np.diff(made - picture, axis=1)).mean((0, 2))
    assert steps.max() < 6 * np.median(steps)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(100, 900))
@settings(deadline=None)
def test_tiles_cover_the_frame_and_have_one_shape(height: int, width: int, side: int) -> None:
    found = tiles.tiles_of(height, width, side, step=side - 60)
    covered = np.zeros((height, width), bool)
    for tile in found:
        covered[tile.of_pixels()] = True
        assert (tile.height, tile.width) == (min(side, height), min(side, width))
    assert covered.all()


class TestPromises:
    """Measured with random networks that change everything they are allowed to."""

    @pytest.mark.parametrize("level", [0, 1, 3, 20, 128, 254, 255])
    def test_flat_frames_stay(self, level: int) -> None:
        deblurrer = random_deblurrer(seed=4)
        frame = np.full((200, 264, 3), level, np.uint8)
        made = deblurrer.deblur(frame)
        assert np.abs(made.astype(int) - frame).max() <= 1

    def test_a_strobe_frame_keeps_its_flat_areas_and_its_level(self) -> None:
        frame = np.zeros((240, 320, 3), np.uint8)
        frame[60:180, 100:200] = 255
        made = random_deblurrer(seed=5).deblur(frame)
        assert abs(float(made.mean()) - float(frame.mean())) <= max(1.0, 0.01 * float(frame.mean()))
        far = np.ones((240, 320), bool)
        far[44:196, 84:216] = False
        assert made[far].max() <= 1

    def test_the_mean_level_stays_within_its_limit_even_where_all_has_texture(self) -> None:
        frame = photograph(200, 200).astype(np.float32) / np.float32(255)
        made = random_deblurrer(seed=6).deblur(frame)
        assert np.abs(made.mean((0, 1)) - frame.mean((0, 1))).max() <= 2 * max(1 / 255, 0.01 * frame.mean())

    def test_the_less_texture_the_less_may_the_level_move(self) -> None:
        textured = torch.rand(1, 3, 64, 64) * 0.2 + 0.4
        partly = textured.clone()
        partly[..., 16:] = 0.5
        whole, part = ((guarded(frame, frame + 0.1) - frame).mean() for frame in (textured, partly))
        assert 0.009 * 0.5 < part < 1.4 * 0.009 * 0.5 < 1.8 * 0.009 * 0.5 < whole <= 2 * 0.009 * 0.51

    @pytest.mark.parametrize("is_motion_known", [False, True])
    def test_bands_of_rows_are_as_the_whole_frame(self, is_motion_known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        draw = torch.Generator().manual_seed(0)
        frame, result = torch.rand(2, 1, 3, 101, 67, generator=draw)
        trust = torch.rand(1, 1, 101, 67, generator=draw)
        in_bands = guarded(frame, result, trust_N1HW=trust, is_motion_known=is_motion_known)
        monkeypatch.setattr(guard, "_BAND_PX", 104)
        assert torch.equal(guarded(frame, result, trust_N1HW=trust, is_motion_known=is_motion_known), in_bands)
        assert (in_bands - frame).abs().max() <= (trust * (result - frame).abs()).max() + 1e-6

    def test_a_speck_of_colour_that_the_surroundings_do_not_have_fades_and_keeps_its_brightness(self) -> None:
        frame = torch.full((1, 3, 50, 61), 0.4)
        frame[..., 40:] += torch.tensor([0.2, 0.0, 0.0]).view(3, 1, 1)  # the right part is reddish
        result = frame.clone()
        result[:, 0, 10:14, (10, 50)] += 0.35  # a red speck in grey, and one in red
        made = bounded_colours(frame, result)
        strength = made[:, 0] - made[:, 1]
        assert torch.equal(made[..., 20:, :], frame[..., 20:, :])
        assert strength[0, 12, 10] < 0.04
        assert strength[0, 12, 50] > strength[0, 12, 45]
        assert (luma(made) - luma(result)).abs().max() < 1e-6

    def test_nan_never_reaches_the_output(self) -> None:
        frame = torch.rand(1, 3, 32, 32)
        broken = torch.full_like(frame, float("nan"))
        broken[..., :16] = 0.5
        assert guarded(frame, broken).isfinite().all()

    def test_what_is_nearly_black_keeps_most_of_its_light_and_a_smear_on_black_goes_without_a_trace(self) -> None:
        """Where the motion is known: dark values lose 5 at most; brighter ones may become black."""
        values = torch.linspace(0, 60, 64 * 64)[torch.randperm(64 * 64, generator=torch.Generator().manual_seed(0))]
        frame = (values / 255).reshape(1, 1, 64, 64).expand(1, 3, 64, 64)
        bright = torch.ones(1, 3, 192, 64)  # keeps the mean level from being brought back
        made = (
            255
            * guarded(
                torch.cat([frame, bright], 2), torch.cat([torch.zeros_like(frame), bright], 2), is_motion_known=True
            )[..., :64, :]
        )
        before = 255 * frame
        assert (before - made)[before <= 17].max() < 5.01
        assert made[before >= 34].max() < 0.01
        assert made.max() < 12.01

    def test_networks_that_give_nan_leave_the_input(self) -> None:
        networks = random_networks()
        for module_ in (networks.image_generator, networks.patch_generator, networks.discriminator):
            for parameter in module_.parameters():
                parameter.fill_(float("nan"))
        broken = Deblurrer(networks, BrmrSettings(), random_deblurrer().runtime)
        picture = photograph(130, 140)
        assert np.array_equal(broken.deblur(picture), picture)


def pixels_of(frame: Frame) -> Pixels:
    assert frame.pixels is not None
    return frame.pixels


class TestStream:
    """Order, time stamps, native planes."""

    def frames(self, number: int) -> Iterator[Frame]:
        for i in range(number):
            yield Frame(pts=7 * i, duration=7, pixels=np.roll(photograph(64, 96), i, axis=1))

    def test_one_out_for_one_in_with_its_time(self, deblurrer: Deblurrer) -> None:
        made = list(deblurrer.stream(self.frames(4), DeblurOptions()))
        assert [m.frame.pts for m in made] == [0, 7, 14, 21]
        assert {m.frame.duration for m in made} == {7}
        assert all(m.windows_tried >= m.windows_accepted for m in made)

    def test_it_does_not_read_ahead_of_what_it_gives(self, deblurrer: Deblurrer) -> None:
        taken: list[int] = []

        def source() -> Iterator[Frame]:
            for frame in self.frames(10):
                taken.append(frame.pts)
                yield frame

        stream = deblurrer.stream(source(), DeblurOptions())
        next(stream)
        assert len(taken) <= 4

    def test_stages_that_overlap_give_the_same_as_one_after_the_other(self) -> None:
        pytest.importorskip("openvino")
        for backend in ("openvino", "torch"):
            made = random_deblurrer(backend=backend)
            threads = torch.get_num_threads(), cv2.getNumThreads()
            stream = made.stream(self.frames(5), DeblurOptions())
            overlapping = [pixels_of(one.frame) for one in stream]
            assert (torch.get_num_threads(), cv2.getNumThreads()) == threads
            stream = made.stream(self.frames(5), DeblurOptions(), overlap=False)
            in_turn = [pixels_of(one.frame) for one in stream]
            assert len(in_turn) == 5
            for one, other in zip(overlapping, in_turn, strict=True):
                assert np.array_equal(one, other)

    def test_a_frame_that_repeats_is_computed_once(self, deblurrer: Deblurrer) -> None:
        one, other = map(pixels_of, self.frames(2))
        shown = [one, one, other, other, other, one]
        frames = [Frame(pts=i, pixels=p.copy()) for i, p in enumerate(shown)]
        made = list(deblurrer.stream(frames, DeblurOptions()))
        assert [m.frame.pts for m in made] == list(range(6))
        assert [m.windows_tried > 0 for m in made] == [True, False, True, False, False, True]
        for first, again in ((0, 1), (2, 3), (2, 4)):
            assert np.array_equal(pixels_of(made[first].frame), pixels_of(made[again].frame))
        once = list(deblurrer.stream([frames[0], frames[2], frames[5]], DeblurOptions()))
        for number, before in zip((0, 2, 5), once, strict=True):
            assert np.array_equal(pixels_of(made[number].frame), pixels_of(before.frame))

    def test_repeated_frames_before_an_error_come_out(self, deblurrer: Deblurrer) -> None:
        one, other = map(pixels_of, self.frames(2))

        def broken() -> Iterator[Frame]:
            yield from (Frame(pts=i, pixels=p) for i, p in enumerate((one, other, other, other)))
            raise OSError("unplugged")

        stream = deblurrer.stream(broken(), DeblurOptions(refine=False))
        assert [next(stream).frame.pts for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(OSError, match="unplugged"):
            next(stream)

    def test_a_repeated_frame_that_does_not_change_keeps_its_own_planes(self, deblurrer: Deblurrer) -> None:
        frames = [Frame(pts=i, pixels=np.full((64, 64, 3), 90, np.uint8)) for i in range(2)]
        assert [m.frame for m in deblurrer.stream(frames, DeblurOptions())] == frames

    def test_a_frame_that_did_not_change_comes_out_as_it_came_in(self, deblurrer: Deblurrer) -> None:
        frame = Frame(pts=0, pixels=np.full((64, 64, 3), 90, np.uint8))
        (made,) = deblurrer.stream([frame], DeblurOptions())
        assert made.frame is frame

    def test_frames_without_pixels_are_refused(self, deblurrer: Deblurrer) -> None:
        import av

        with pytest.raises(UsageError, match="RGB"):
            list(deblurrer.stream([Frame(pts=0, native=av.VideoFrame(8, 8, "yuv420p"))], DeblurOptions()))

    def test_no_refinement_tries_no_window(self, deblurrer: Deblurrer) -> None:
        made = list(deblurrer.stream(self.frames(2), DeblurOptions(refine=False)))
        assert sum(m.windows_tried for m in made) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_survive_the_way_through_tensors(dtype: Any) -> None:
    draw = np.random.default_rng(0)
    pixels: Any = draw.integers(0, np.iinfo(dtype).max + 1, (9, 11, 3)).astype(dtype)
    host = to_host(to_tensor(pixels, CPU)[0].permute(1, 2, 0))
    assert np.array_equal(quantised(host, like=pixels), pixels)


def test_openvino_gives_the_same_picture() -> None:
    pytest.importorskip("openvino")
    picture = photograph(200, 264)
    expected = random_deblurrer(backend="torch").deblur(picture, refine=False)
    made = random_deblurrer(backend="openvino").deblur(picture, refine=False)
    assert np.abs(made.astype(int) - expected).max() <= 1
