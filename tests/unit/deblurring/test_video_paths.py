"""Frames of a video with their neighbours: look-ahead, cuts, sizes, order, and refining one frame later."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, cycle

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring import stages, working_size
from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.cam import Area
from concertdeblur.deblurring.deblurrer import DeblurOptions, DeblurredFrame, Deblurrer
from concertdeblur.deblurring.image_generator import ImageGenerator
from concertdeblur.deblurring.result_paths import ResultPaths
from concertdeblur.deblurring.stream_frames import StreamSearch, with_following
from concertdeblur.errors import SourceError
from concertdeblur.frame import Frame
from concertdeblur.models.prepared import Prepared
from concertdeblur.runtime import choose_runtime
from tests.networks import SMALL_VIDEO, random_networks

Pixels = npt.NDArray[np.uint8]


def scene(seed: int, height: int, width: int) -> Pixels:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def panning(num: int, *, seed: int = 0, height: int = 160, width: int = 208, step_px: int = 3) -> list[Frame]:
    wide = scene(seed, height, width + num * step_px)
    return [
        Frame(pts=10 * n, pixels=np.ascontiguousarray(wide[:, n * step_px : n * step_px + width])) for n in range(num)
    ]


def deblurrer(settings: BrmrSettings | None = None, *, seed: int = 0) -> Deblurrer:
    # every window is kept: D_i must not fall by 100
    every = settings or BrmrSettings(video_window_margin=-100, hysteresis=0, max_shift=1.0, max_iterations=2)
    return Deblurrer(random_networks(SMALL_VIDEO, seed=seed), every, choose_runtime("cpu", "torch"))


def streamed(frames: list[Frame], options: DeblurOptions | None = None, **how: bool) -> list[DeblurredFrame]:
    return list(deblurrer().stream(frames, options or DeblurOptions(), **how))


def pixels_of(made: list[DeblurredFrame]) -> list[Pixels]:
    return [np.asarray(one.frame.pixels, dtype=np.uint8) for one in made]


@pytest.mark.parametrize("size", [(160, 208), (91, 133), (40, 300), (18, 22)])
def test_one_frame_out_for_one_in_at_any_size(size: tuple[int, int]) -> None:
    frames = panning(4, height=size[0], width=size[1])
    made = streamed(frames)
    assert [one.frame.pts for one in made] == [frame.pts for frame in frames]
    assert [one.source for one in made] == frames
    assert all(pixels.shape == (*size, 3) for pixels in pixels_of(made))


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((719, 1280), (719, 1280)),
        ((720, 1280), (360, 640)),
        ((1280, 720), (640, 360)),
        ((1080, 1921), (540, 961)),
        ((1440, 2560), (480, 854)),
        ((4320, 7680), (1080, 1920)),
    ],
)
def test_large_frames_have_a_smaller_working_size(own: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size.working_size(*own) == expected


class TestLargeFrames:
    """Frames of 161x209 px count as large here."""

    @pytest.fixture(autouse=True)
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], bool]]:
        """The size of each frame that G_i restores, and whether it does so along the path."""
        monkeypatch.setattr(working_size, "STEP_PX", 150)
        seen: list[tuple[tuple[int, ...], bool]] = []
        restored = ImageGenerator.restored

        def watched(self: ImageGenerator, blurred: Tensor, prepared: Prepared, **how: int | None) -> Tensor:
            seen.append((tuple(blurred.shape[2:]), prepared.path is not None))
            return restored(self, blurred, prepared, **how)

        monkeypatch.setattr(ImageGenerator, "restored", watched)
        return seen

    FRAMES = panning(4, height=161, width=209)

    def test_they_are_restored_and_refined_at_the_working_size(self, seen: list[tuple[tuple[int, ...], bool]]) -> None:
        made = streamed(self.FRAMES, DeblurOptions(refine_share=1, heatmap=True))
        assert seen == [((96, 112), True)] * 4  # 81x105, extended to multiples of 16
        assert all(pixels.shape == (161, 209, 3) for pixels in pixels_of(made))
        assert all(one.windows_kept == (Area(y=0, x=0, height=161, width=209),) for one in made)
        assert all(one.heatmap is not None and one.heatmap.shape == (161, 209) for one in made)
        alone = streamed(self.FRAMES, DeblurOptions(refine=False))
        assert all((a != b).any() for a, b in zip(pixels_of(made), pixels_of(alone), strict=True))

    def test_frames_under_a_kernel_lie_between_others(
        self, seen: list[tuple[tuple[int, ...], bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others sample the results of those at the working size."""
        answers = cycle([True, False, True])
        monkeypatch.setattr(ImageGenerator, "is_blurred_by_motion", lambda *_: torch.tensor(next(answers)))
        made = streamed(self.FRAMES, DeblurOptions(refine_share=1))
        assert [size for size, _ in seen] == [(96, 112), (176, 224), (96, 112), (96, 112)]
        assert [one.windows_tried > 0 for one in made] == [True, False, True, True]

    def test_the_blur_of_a_reduced_frame_is_remembered_for_one_frame_only(
        self, seen: list[tuple[tuple[int, ...], bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The third frame is reduced again, but the second one was not, so only its own size has a memory."""
        answers, known = cycle([True, False, True, True]), list[bool]()
        remembered = stages._remembered

        def watched(before: Tensor | None, now: Tensor) -> Tensor:
            known.append(before is not None)
            return remembered(before, now)

        monkeypatch.setattr(stages, "_remembered", watched)
        monkeypatch.setattr(ImageGenerator, "is_blurred_by_motion", lambda *_: torch.tensor(next(answers)))
        streamed(self.FRAMES, overlap=False)
        assert len(seen) == 4
        own_then_reduced = [[False, False], [True], [True, False], [True, True]]
        assert known == list(chain.from_iterable(own_then_reduced))

    def test_trust_stays_in_its_place_when_it_is_enlarged(self) -> None:
        """360 px have 23 hints; the last reaches 8 px beyond them. The step lies at 176 px, and then at 352."""
        trust = (torch.arange(23) >= 11).float()[None, None, :, None].expand(1, 1, 23, 40)
        made = stages._enlarged_trust(trust, (360, 640), (720, 1280))[0, 0, :, 0]
        assert made.shape == (45,)
        assert made[:20].max() == 0
        assert made[24:].min() == 1
        assert made[20:24].sum().item() == pytest.approx(2, abs=0.01)

    def test_a_kernels_blur_is_restored_at_the_frames_own_size(
        self, seen: list[tuple[tuple[int, ...], bool]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ImageGenerator, "is_blurred_by_motion", lambda *_: torch.tensor(data=False))
        streamed(self.FRAMES)
        assert seen == [((176, 224), False)] * 4

    def test_what_changes_nothing_loses_no_detail(self) -> None:
        """A frame with a pattern of single pixels, which half the size cannot show."""
        rng = np.random.default_rng(3)
        noisy = [
            Frame(
                pts=frame.pts,
                pixels=np.clip(frame.pixels.astype(int) + rng.integers(-40, 40, (161, 209, 3)), 0, 255).astype(
                    np.uint8
                ),
            )
            for frame in self.FRAMES
            if frame.pixels is not None
        ]
        untrained = Deblurrer(random_networks(SMALL_VIDEO, scale=0.0), BrmrSettings(), choose_runtime("cpu", "torch"))
        made = list(untrained.stream(noisy, DeblurOptions(refine=False)))
        assert all((a == b.pixels).all() for a, b in zip(pixels_of(made), noisy, strict=True))

    def test_the_change_is_enlarged_as_torch_enlarges_it(self) -> None:
        draw = torch.Generator().manual_seed(0)
        frame = torch.rand(1, 3, 161, 209, generator=draw)
        reduced, restored = torch.rand(2, 1, 3, 81, 105, generator=draw)
        made = working_size.with_enlarged_change(frame, reduced, restored)
        change = F.interpolate(restored - reduced, (161, 209), mode="bicubic", align_corners=False)
        assert (made - (frame + change).clamp(0, 1)).abs().max() < 1e-3

    def test_a_set_without_a_g_p_for_videos_takes_no_windows_of_pictures(self) -> None:
        networks = random_networks(SMALL_VIDEO)
        assert networks.video is not None
        alone = replace(networks, video=replace(networks.video, patch_generator=None, discriminator=None))
        bare = Deblurrer(alone, BrmrSettings(window_margin=-100), choose_runtime("cpu", "torch"))
        made = list(bare.stream(self.FRAMES, DeblurOptions()))
        assert [one.windows_tried for one in made] == [0] * 4


def test_windows_are_tried_and_counted_where_the_path_is_known() -> None:
    made = streamed(panning(4))
    assert all(one.windows_tried > 0 for one in made)
    assert all(one.windows_accepted == one.windows_tried for one in made)
    alone = streamed(panning(4), DeblurOptions(refine=False))
    assert all(one.windows_tried == 0 for one in alone)
    assert all((a != b).any() for a, b in zip(pixels_of(made), pixels_of(alone), strict=True))


def test_a_frame_does_not_depend_on_frames_beyond_its_neighbours_neighbours() -> None:
    """G_p sees the results beside a frame, and those depend on the frames beside them: two ahead, no more."""
    frames = panning(7)
    whole = pixels_of(streamed(frames))
    cut = pixels_of(streamed(frames[:6]))
    assert all((a == b).all() for a, b in zip(whole[:4], cut[:4], strict=True))


def test_a_share_of_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, none = panning(4), DeblurOptions(refine_share=0)
    alone = pixels_of(streamed(frames, DeblurOptions(refine=False)))
    monkeypatch.setattr(ResultPaths, "add", lambda *_: pytest.fail("results are kept for a frame that waits"))
    made = streamed(frames, none)
    assert [one.windows_tried for one in made] == [0] * 4
    assert all((a == b).all() for a, b in zip(pixels_of(made), alone, strict=True))
    by_settings = deblurrer(BrmrSettings(video_window_margin=-100, refine_share=0))
    assert [one.windows_tried for one in by_settings.stream(frames, DeblurOptions())] == [0] * 4


def test_a_cut_ends_the_path_on_both_sides() -> None:
    first, second = panning(3, seed=1), panning(3, seed=2)
    second = [Frame(pts=30 + frame.pts, pixels=frame.pixels) for frame in second]
    search = StreamSearch()
    seen = [search.next(*pair) for pair in with_following([*first, *second])]
    known = [one.neighbours for one in seen]
    assert all(one is not None for one in known)
    paths = [one.path for one in known if one is not None]
    assert [path.to_before is not None for path in paths] == [False, True, True, False, True, True]
    assert [path.to_after is not None for path in paths] == [True, True, False, True, True, False]
    before_cut, after_cut = known[2], known[3]
    assert before_cut is not None
    assert after_cut is not None
    assert before_cut.after is None
    assert after_cut.before is None


def test_a_neighbour_is_not_believed_where_a_light_goes_on() -> None:
    frames = panning(3)
    lit = np.array(frames[2].pixels)
    lit[60:100, 80:120] = 255
    frames[2] = Frame(pts=frames[2].pts, pixels=lit)
    search = StreamSearch()
    seen = [search.next(*pair).neighbours for pair in with_following(frames)]
    assert seen[1] is not None
    before, after = seen[1].path.beliefs
    assert before is not None
    assert after is not None
    assert before[30:-30, 30:-30].min() > 0.9
    assert after.min() == 0
    assert (after == 0).mean() < 0.5


def test_the_first_scene_is_the_same_with_another_scene_behind_it() -> None:
    first = panning(3, seed=1)
    second = [Frame(pts=30 + frame.pts, pixels=frame.pixels) for frame in panning(2, seed=2)]
    alone, followed = pixels_of(streamed(first)), pixels_of(streamed([*first, *second]))
    assert all((a == b).all() for a, b in zip(alone, followed[:3], strict=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_stays_where_it_is(bad: float) -> None:
    """It is 0 or 1 for the networks, and so it is for the motion and the averages of the frames that follow."""
    frames = [
        Frame(pts=one.pts, pixels=np.asarray(one.pixels, dtype=np.float32) / np.float32(255)) for one in panning(5)
    ]
    spoilt, zero = np.array(frames[2].pixels), np.array(frames[2].pixels)
    spoilt[70, 90], zero[70, 90] = bad, 0 if bad != np.inf else 1
    made, wanted = (
        streamed([*frames[:2], Frame(pts=frames[2].pts, pixels=pixels), *frames[3:]]) for pixels in (spoilt, zero)
    )
    for one, other in zip(made, wanted, strict=True):
        assert one.frame.pixels is not None
        assert np.isfinite(one.frame.pixels).all()
        assert np.abs(one.frame.pixels - np.asarray(other.frame.pixels)).max() < 1e-5


def test_a_lone_frame_has_no_path() -> None:
    made = streamed(panning(1))
    assert len(made) == 1
    assert made[0].windows_tried == 0


def test_the_velocity_counts_the_shorter_gap() -> None:
    whole = panning(4, step_px=4)
    frames = [whole[0], whole[1], whole[3]]  # one frame was dropped
    search = StreamSearch()
    seen = [search.next(*pair) for pair in with_following(frames)]
    neighbours = seen[1].neighbours
    assert neighbours is not None
    assert neighbours.path.gaps == (10, 20)
    velocity = neighbours.path.velocity()
    assert velocity is not None
    assert abs(abs(float(np.median(velocity[..., 0]))) - 4) < 0.5


def test_sharp_frames_of_a_fast_camera_have_a_short_exposure_and_smear() -> None:
    frames = panning(6, step_px=14, height=240, width=320)
    search = StreamSearch()
    paths = [one.neighbours.path for pair in with_following(frames) if (one := search.next(*pair)).neighbours]
    assert len(paths) == 6
    assert all(path.exposure < 0.6 for path in paths)
    smear, velocity = paths[3].smear(), paths[3].velocity()
    assert smear is not None
    assert velocity is not None
    assert np.allclose(smear, velocity * np.float32(paths[3].exposure))


def test_frames_before_an_error_come_out_before_it() -> None:
    frames = panning(4)

    def failing() -> Iterator[Frame]:
        yield from frames
        raise SourceError("broken here")

    stream = deblurrer().stream(failing(), DeblurOptions())
    made = [next(stream) for _ in frames]
    with pytest.raises(SourceError, match="broken here"):
        next(stream)
    assert [one.frame.pts for one in made] == [frame.pts for frame in frames]


def test_repeated_frames_do_not_hide_the_motion() -> None:
    """A clip with every frame shown twice is deblurred as the clip itself."""
    frames = panning(4)
    twice = [Frame(pts=5 * n, pixels=frames[n // 2].pixels) for n in range(8)]
    once = [Frame(pts=10 * n, pixels=frames[n].pixels) for n in range(4)]
    made = pixels_of(streamed(twice))
    assert all((a == b).all() for a, b in zip(made[::2], pixels_of(streamed(once)), strict=True))


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_other_kinds_of_pixels_take_the_same_path(kind: type[np.generic]) -> None:
    frames = panning(3)
    scale = 257 if kind is np.uint16 else 1 / 255
    deep = [Frame(pts=frame.pts, pixels=(np.asarray(frame.pixels, float) * scale).astype(kind)) for frame in frames]
    made = list(deblurrer().stream(deep, DeblurOptions()))
    for one, eight_bit in zip(made, pixels_of(streamed(frames)), strict=True):
        assert one.frame.pixels is not None
        assert one.frame.pixels.dtype == kind
        difference = np.abs(np.asarray(one.frame.pixels, np.float64) / scale - eight_bit)
        assert difference.mean() < 1.0
