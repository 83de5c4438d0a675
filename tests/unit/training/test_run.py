"""What stands around the stages: the run's folder, curves, the loader, mined windows on disk."""

import dataclasses
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from concertdeblur.errors import TrainingError
from concertdeblur.runtime import torch_threads
from concertdeblur.training.curves import Curves
from concertdeblur.training.data.loader import Loader, network_threads, num_workers
from concertdeblur.training.data.pictures import REPLACED, StoreContents, replaced
from concertdeblur.training.recipe import Recipe, read_recipe
from concertdeblur.training.report import Report
from concertdeblur.training.run_folder import RunFolder, check_stores, locked
from concertdeblur.training.window_store import delete_parts, load_windows, save_windows

_DATA = StoreContents(num_pictures=2, num_pairs=0, sha256="ab")
_CPU = torch.device("cpu")


@pytest.fixture
def recipe() -> Recipe:
    return read_recipe("tiny")


def begun(path: Path, recipe: Recipe) -> RunFolder:
    folder = RunFolder(path, recipe)
    assert folder.check(resume=False) == []
    folder.begin(_DATA)
    return folder


class TestRunFolder:
    def test_the_same_run_goes_on(self, tmp_path: Path, recipe: Recipe) -> None:
        begun(tmp_path, recipe)
        again = RunFolder(tmp_path, recipe)
        assert again.check(resume=True) == []
        again.begin(_DATA)

    def test_resume_wants_a_run(self, tmp_path: Path, recipe: Recipe) -> None:
        with pytest.raises(TrainingError, match="no run to go on with"):
            RunFolder(tmp_path / "none", recipe).check(resume=True)

    def test_a_file_is_no_folder(self, tmp_path: Path, recipe: Recipe) -> None:
        (tmp_path / "run").write_text("")
        with pytest.raises(TrainingError, match="run is a file; name a folder with --out"):
            RunFolder(tmp_path / "run", recipe).check(resume=False)

    def test_another_run_is_refused(self, tmp_path: Path, recipe: Recipe) -> None:
        begun(tmp_path, recipe)
        wider = dataclasses.replace(recipe.architecture.image_generator, width=16)
        architecture = dataclasses.replace(recipe.architecture, image_generator=wider)
        for other, what in (
            (dataclasses.replace(recipe, name="mine"), "recipe 'tiny'"),
            (dataclasses.replace(recipe, architecture=architecture), "another architecture"),
            (dataclasses.replace(recipe, seed=5), "seed '1'"),
        ):
            with pytest.raises(TrainingError, match=f"{what}.*--restart"):
                RunFolder(tmp_path, other).check(resume=False)

    def test_other_data_are_refused(self, tmp_path: Path, recipe: Recipe) -> None:
        folder = begun(tmp_path, recipe)
        with pytest.raises(TrainingError, match="other data"):
            folder.begin(dataclasses.replace(_DATA, sha256="cd"))

    @pytest.mark.parametrize(
        ("before", "now", "told"),
        [
            (
                "ab",
                "cd",
                r"began with --start-from mine as it was then \(its manifest has sha256 ab\.\.\.\); take that",
            ),
            ("", "cd", "began with fresh networks, without --start-from; take that, name another folder"),
        ],
    )
    def test_a_run_that_began_with_another_weight_set_is_refused(
        self, tmp_path: Path, recipe: Recipe, before: str, now: str, told: str
    ) -> None:
        recipe = dataclasses.replace(recipe, start_from="mine")
        RunFolder(tmp_path, recipe, start_sha256=before).begin(_DATA)
        assert RunFolder(tmp_path, recipe, start_sha256=before).check(resume=True) == []
        with pytest.raises(TrainingError, match=told):
            RunFolder(tmp_path, recipe, start_sha256=now).check(resume=True)
        file = tmp_path / "run.json"
        of_older_version = {key: value for key, value in json.loads(file.read_text()).items() if key != "start_sha256"}
        file.write_text(json.dumps(of_older_version))
        assert RunFolder(tmp_path, recipe, start_sha256=now).check(resume=True) == []

    def test_stores_come_back_unless_all_goes_well(self, tmp_path: Path, recipe: Recipe) -> None:
        def stored(text: str) -> None:
            with replaced(tmp_path / "pictures") as part:
                (part / "index.json").write_text(text)

        def holds() -> tuple[str, list[str]]:
            return (tmp_path / "pictures" / "index.json").read_text(), sorted(path.name for path in tmp_path.iterdir())

        def fails_with(error: type[BaseException]) -> None:
            with folder.keeping_stores():
                stored("second")
                raise error

        folder = begun(tmp_path, recipe)
        stored("first")
        for error in (TrainingError, KeyboardInterrupt):
            with pytest.raises(error):
                fails_with(error)
            assert holds() == ("first", ["pictures", "run.json"])
        with folder.keeping_stores():
            stored("second")
        assert holds() == ("second", ["pictures", "run.json"])
        # killed before it was checked whether the new store may stay
        (tmp_path / REPLACED).mkdir()
        stored("third")
        assert holds() == ("third", ["pictures", REPLACED, "run.json"])
        with folder.keeping_stores():
            assert holds()[0] == "second"
        assert holds() == ("second", ["pictures", "run.json"])

    def test_a_longer_schedule_is_allowed_and_said(self, tmp_path: Path, recipe: Recipe) -> None:
        begun(tmp_path, recipe)
        longer = dataclasses.replace(recipe, igan=dataclasses.replace(recipe.igan, steps=99))
        assert RunFolder(tmp_path, longer).check(resume=False) == [f"igan.steps {recipe.igan.steps} -> 99"]

    def test_a_run_begun_under_the_former_name_of_its_architecture_goes_on(
        self, tmp_path: Path, recipe: Recipe
    ) -> None:
        begun(tmp_path, recipe)
        file = tmp_path / "run.json"
        before = json.loads(file.read_text())
        assert before["architecture"]["kind"] == "concert"
        before["architecture"]["kind"] = "fast"
        del before["architecture"]["image_generator"]["num_deep_blocks"]  # as if the setting were new
        file.write_text(json.dumps(before))
        assert RunFolder(tmp_path, recipe).check(resume=True) == []

    def test_checkpoints_of_an_unknown_run_are_refused(self, tmp_path: Path, recipe: Recipe) -> None:
        (tmp_path / "igan.safetensors").write_bytes(b"")
        with pytest.raises(TrainingError, match=r"no run\.json"):
            RunFolder(tmp_path, recipe).check(resume=False)

    @pytest.mark.parametrize(
        ("stage", "left"),
        [
            (None, {"pictures", "mine.safetensors"}),
            ("igan", {"pictures", "mine.safetensors", "run.json", "curves.jsonl", "analysis.safetensors"}),
        ],
    )
    def test_restart_throws_away_the_run_alone(
        self, tmp_path: Path, recipe: Recipe, stage: str | None, left: set[str]
    ) -> None:
        folder = begun(tmp_path, recipe)
        for name in ("analysis.safetensors", "igan.safetensors", "pgan.safetensors", "mine.safetensors"):
            (tmp_path / name).write_bytes(b"")
        (tmp_path / "mining").mkdir()
        (tmp_path / "curves.jsonl").write_text("")
        for name in ("pictures", "weights"):
            (tmp_path / name).mkdir()
        folder.restart(stage)
        assert {path.name for path in tmp_path.iterdir()} == left

    def test_a_folder_without_a_run_is_left_alone(self, tmp_path: Path, recipe: Recipe) -> None:
        (tmp_path / "weights").mkdir()
        RunFolder(tmp_path, recipe).restart()
        assert (tmp_path / "weights").is_dir()


class TestFoldersOfTheUser:
    """A run's folder may hold folders of the user's that have the names of ours."""

    @pytest.mark.parametrize(
        "name", ["pictures", "clip_pairs", "sequences", "scenes", "scenes.part", "replaced", "replaced.part"]
    )
    def test_they_are_refused_and_kept(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "holiday.txt").write_text("mine")
        with pytest.raises(TrainingError, match=f"{name} is not of a training.*--out"):
            check_stores(tmp_path, {})
        if not name.startswith(REPLACED):
            with (
                pytest.raises(TrainingError, match=f"{name} is no store"),
                replaced(tmp_path / name.removesuffix(".part")),
            ):
                pass
        assert (tmp_path / name / "holiday.txt").read_text() == "mine"

    def test_stores_may_be_replaced_also_damaged_and_unfinished_ones(self, tmp_path: Path) -> None:
        for name in ("pictures", "sequences.part", "scenes"):
            (tmp_path / name).mkdir()
        (tmp_path / "pictures" / "index.json").write_text('{"format": 1, "pictures": []}')
        (tmp_path / "pictures" / "of an older version").write_text("")
        for name in ("pixels.u8", "flows.f16", "train-guesses.f16", "held_out-results.u8.part.json"):
            (tmp_path / "sequences.part" / name).write_text("")
        (tmp_path / REPLACED).mkdir()
        (tmp_path / REPLACED / "clip_pairs").mkdir()
        check_stores(tmp_path, {"--data": tmp_path})
        for name in ("pictures", "sequences", "scenes"):
            with replaced(tmp_path / name):
                pass

    @pytest.mark.parametrize("data", ["pictures", "sequences/mine"])
    def test_data_that_lie_where_a_store_will_be_are_refused(self, tmp_path: Path, data: str) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        with pytest.raises(TrainingError, match=r"--real .*by a store of its own; name another folder with --out"):
            check_stores(tmp_path, {"--data": tmp_path / "other", "--real": tmp_path / "link" / data})

    def test_of_the_folder_of_mined_windows_only_windows_are_deleted(self, tmp_path: Path) -> None:
        folder = tmp_path / "mining"
        for names in (["0000000-0000003.safetensors", "gold.txt"], ["0000003-0000009.part"]):
            folder.mkdir()
            for name in names:
                (folder / name).write_text("")
            delete_parts(folder)
            if "gold.txt" in names:
                assert [path.name for path in folder.iterdir()] == ["gold.txt"]
                (folder / "gold.txt").unlink()
                folder.rmdir()
        assert not folder.exists()


def test_one_training_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        locked(folder),
        pytest.raises(TrainingError, match="run: another training is working in this folder; wait for it, or name"),
        locked(folder),
    ):
        pass
    with locked(folder):
        pass


def report(stage: str, step: int, loss: float = 0.5) -> Report:
    return Report(
        stage=stage,
        step=step,
        steps=9,
        objective=1.0,
        figures={"l1": loss},
        held_out={"gaussian": 1.0},
        elapsed_s=1,
        waited_s=0,
    )


class TestCurves:
    def rows(self, folder: Path) -> list[tuple[str, int, float]]:
        lines = (folder / "curves.jsonl").read_text().splitlines()
        return [(row["stage"], row["step"], row["l1"]) for row in map(json.loads, lines)]

    def test_lines_of_what_was_reported(self, tmp_path: Path) -> None:
        with Curves(tmp_path, on_warning=lambda _: None) as curves:
            curves.begin("igan", 0)
            curves.add(report("igan", 1))
        assert self.rows(tmp_path) == [("igan", 1, 0.5)]
        assert json.loads((tmp_path / "curves.jsonl").read_text())["held-out gaussian"] == 1.0

    def test_a_resumed_stage_drops_what_lies_beyond(self, tmp_path: Path) -> None:
        with Curves(tmp_path, on_warning=lambda _: None) as curves:
            for step in (1, 2, 3):
                curves.add(report("analysis", step))
                curves.add(report("igan", step))
        with (tmp_path / "curves.jsonl").open("a") as file:
            file.write('{"stage": "ig')  # killed while writing
        with Curves(tmp_path, on_warning=lambda _: None) as curves:
            curves.begin("igan", 2)
            curves.add(report("igan", 3, loss=0.25))
        assert [row for row in self.rows(tmp_path) if row[0] == "igan"] == [
            ("igan", 1, 0.5), ("igan", 2, 0.5), ("igan", 3, 0.25),
        ]  # fmt: skip
        assert len(self.rows(tmp_path)) == 6

    def test_without_tensorboard_it_is_said_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("concertdeblur.training.curves.find_spec", lambda _: None)
        said: list[str] = []
        for _ in range(2):
            with Curves(tmp_path, on_warning=said.append) as curves:
                curves.begin("igan", 0)
                curves.add(report("igan", 1))
        assert len(said) == 1
        assert "concertdeblur[training]" in said[0]

    def test_tensorboard_holds_the_curves(self, tmp_path: Path) -> None:
        pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
        with Curves(tmp_path, on_warning=pytest.fail) as curves:
            curves.begin("igan", 0)
            curves.add(report("igan", 1))
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard" / "igan"))
        events.Reload()
        assert events.Scalars("l1")[0].value == 0.5
        assert events.Scalars("held-out gaussian")[0].step == 1

    def test_the_last_figures_on_held_out_pictures_are_found_again(self, tmp_path: Path) -> None:
        with Curves(tmp_path, on_warning=lambda _: None) as curves:
            assert curves.last_held_out("igan") == {}
            for stage, step, held_out in (
                ("igan", 5, {"gaussian": 1.0}),
                ("igan", 6, {}),
                ("pgan", 1, {"median": 2.0}),
            ):
                curves.add(
                    Report(
                        stage=stage,
                        step=step,
                        steps=9,
                        objective=1.0,
                        figures={"l1": 0.1},
                        held_out=held_out,
                        elapsed_s=1,
                        waited_s=0,
                    )
                )
            assert curves.last_held_out("igan") == {"gaussian": 1.0}
        (tmp_path / "curves.jsonl").write_text((tmp_path / "curves.jsonl").read_text() + '{"stage": "ig')
        with Curves(tmp_path, on_warning=lambda _: None) as curves:
            assert curves.last_held_out("igan") == {"gaussian": 1.0}

    def test_only_one_process_writes(self, tmp_path: Path) -> None:
        with Curves(tmp_path, is_writing=False, on_warning=pytest.fail) as curves:
            curves.begin("igan", 0)
            curves.add(report("igan", 1))
        assert not list(tmp_path.iterdir())


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A batch."""

    values: Tensor
    name: str = "fixed"


class TestLoader:
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_batches_come_in_order_whatever_the_threads(self, workers: int) -> None:
        def make(step: int) -> Numbers:
            time.sleep(0.002 * (step % 3))
            return Numbers(values=torch.tensor([step]))

        with Loader(make, _CPU, workers=workers) as loader:
            assert [int(loader(step).values) for step in range(12)] == list(range(12))
            assert int(loader(3).values) == 3  # back again

    def test_batches_are_made_ahead(self) -> None:
        made: list[int] = []
        ahead = threading.Event()

        def make(step: int) -> Numbers:
            made.append(step)
            if step == 2:
                ahead.set()
            return Numbers(values=torch.tensor([step]))

        with Loader(make, _CPU, workers=1) as loader:
            loader(0)
            assert ahead.wait(5)
        assert made == [0, 1, 2]

    def test_threads_that_take_turns_make_as_many_at_once_as_there_are_cores(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("concertdeblur.training.data.loader.available_cpus", lambda: 3)
        together = threading.Barrier(3)  # broken unless three are made at once
        made: list[int] = []

        def make(step: int) -> Numbers:
            together.wait(5)
            made.append(step)
            return Numbers(values=torch.tensor([step]))

        with Loader(make, _CPU, workers=0) as loader:
            for step, after in ((0, 3), (1, 3), (2, 3), (3, 6)):
                assert int(loader(step).values) == step
                assert len(made) == after  # nothing is made beside the network

    @pytest.mark.parametrize("workers", [0, 1, 3])
    @pytest.mark.parametrize("begun_at", [0, 3, 6, 10])
    def test_several_steps_get_the_same_batch(self, workers: int, begun_at: int) -> None:
        made: list[int] = []

        def make(number: int) -> Numbers:
            made.append(number)
            return Numbers(values=torch.tensor([number]))

        expected = [*range(4), *range(4), *range(4, 8), *range(4, 8), *range(8, 12), *range(8, 12)]
        with Loader(make, _CPU, workers=workers, uses=2) as loader:
            given = [int(loader(step).values) for step in range(begun_at, len(expected))]
        assert given == expected[begun_at:]
        assert sorted(made) == sorted(set(made))  # each once, also where a run is taken up between two uses

    def test_what_a_thread_raises_comes_out(self) -> None:
        def make(step: int) -> Numbers:
            raise TrainingError(f"no batch {step}")

        before = threading.active_count()
        for workers in (0, 2):
            with pytest.raises(TrainingError, match="no batch 0"), Loader(make, _CPU, workers=workers) as loader:
                loader(0)
            assert threading.active_count() == before

    def test_waiting_is_counted(self) -> None:
        def make(_step: int) -> Numbers:
            time.sleep(0.02)
            return Numbers(values=torch.zeros(1))

        with Loader(make, _CPU, workers=0) as loader:
            loader(0)
        assert 0.02 <= loader.waited_s < 1

    @pytest.mark.parametrize(
        ("cores", "threads", "on_cpu", "heavy", "on_gpu"),
        [(1, 1, 0, 0, 1), (2, 2, 0, 1, 1), (2, 1, 1, 1, 1), (4, 4, 1, 2, 3), (16, 16, 4, 8, 8), (64, 64, 8, 8, 8)],
    )
    def test_cores_are_shared_between_network_and_batches(
        self, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int, on_cpu: int, heavy: int, on_gpu: int
    ) -> None:
        monkeypatch.setattr("concertdeblur.training.data.loader.available_cpus", lambda: cores)
        assert num_workers(_CPU, num_threads=threads) == on_cpu
        assert num_workers(_CPU, num_threads=threads, is_heavy=True) == heavy
        assert num_workers(torch.device("cuda"), num_threads=threads) == on_gpu

    def test_the_network_leaves_cores_to_the_workers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("concertdeblur.training.data.loader.available_cpus", lambda: 3)
        with torch_threads(3):
            with network_threads(_CPU, 2):
                assert torch.get_num_threads() == 1
            with network_threads(torch.device("cuda"), 2):
                assert torch.get_num_threads() == 3
            assert torch.get_num_threads() == 3


class TestMined:
    def test_windows_come_back_if_they_are_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "mining.safetensors"
        assert load_windows(path, Numbers, {}) is None
        values = torch.rand(3, 3, 4, 4).half()

        @dataclass(frozen=True, kw_only=True)
        class Windows:
            values: Tensor

        save_windows(path, Windows(values=values), {"igan_step": 3})
        read = load_windows(path, Windows, {"igan_step": 3})
        assert read is not None
        assert torch.equal(read.values, values)
        assert load_windows(path, Windows, {"igan_step": 4}) is None
        path.write_bytes(b"broken")
        assert load_windows(path, Windows, {"igan_step": 3}) is None
        assert [p.name for p in tmp_path.iterdir()] == ["mining.safetensors"]
