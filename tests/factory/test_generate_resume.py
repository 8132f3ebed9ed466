"""A run that was killed, wherever, ends with the files of one that was not; so does one that several processes share."""

import json
import os
import time

import pytest

from mmalign.errors import UserError
from mmalign.factory.generate import run
from mmalign.resumable.shard_folder import ShardFolder, finished
from tests.factory.conftest import contents
from tests.forked import FORK, killed_at_random, shared


@pytest.fixture
def whole(drawn):
    """The files of a run that nobody stopped."""
    return contents(drawn)


def test_kills_at_random_moments_leave_no_trace(configured, whole):
    config = configured()
    killed = killed_at_random(lambda: run(config), 0.5)
    if finished(config.out) is None:
        run(config)
    assert killed
    assert contents(config.out) == whole
    assert not config.out.with_name("pictures.parts").exists()


@pytest.mark.parametrize("place", [0, 3, "finish"])
def test_a_stopped_run_goes_on_with_the_shard_it_was_at(configured, whole, monkeypatch, place):
    config, write = configured(), ShardFolder.write

    def stop(self, *arguments):
        if place == "finish" or arguments[0] == place:
            raise KeyboardInterrupt
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "finish" if place == "finish" else "write", stop)
        with pytest.raises(KeyboardInterrupt) as stopped:
            run(config)
    if place != "finish":
        safe = {0: 0, 3: 14}[place]
        assert str(stopped.value) == f"interrupted; {safe} of 20 images are drawn and saved; the same command goes on from there"
    assert not config.out.exists()
    drawn = []
    monkeypatch.setattr(ShardFolder, "write", lambda self, *arguments: drawn.append(arguments[0]) or write(self, *arguments))
    run(config)
    assert drawn == ([] if place == "finish" else list(range(place, 5)))
    assert contents(config.out) == whole


def test_two_processes_make_the_files_that_one_makes(configured, whole):
    wrote = FORK.SimpleQueue()

    def join(rank):
        write = ShardFolder.write

        def noted(self, number, table):
            wrote.put((rank, number))
            time.sleep(0.1)  # so that neither does it all
            write(self, number, table)

        ShardFolder.write = noted
        run(configured())

    shared(join)
    assert contents(configured().out) == whole
    first: dict[int, int] = {}
    while not wrote.empty():
        rank, number = wrote.get()
        first.setdefault(rank, number)
    assert first == {0: 0, 1: 1}


def begun(config, monkeypatch):
    """Stops a run as it is about to save its second shard."""
    write = ShardFolder.write

    def stop(self, number, table):
        if number == 1:
            raise KeyboardInterrupt
        write(self, number, table)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run(config)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_inference_steps": 3}, "num_inference_steps was 2 and is 3; give the same to go on, or --overwrite to draw anew"),
        ({"batch_size": 2}, "batch_size was 3 and is 2"),
        ({"limit": 4}, "the prompts are others; give the same to go on"),
        ({"call": {"eta": 0.5}}, "call.eta was None and is 0.5"),
    ],
)
def test_other_settings_are_refused_by_the_key_that_differs(configured, monkeypatch, changes, said):
    begun(configured(), monkeypatch)
    with pytest.raises(UserError) as error:
        run(configured(**changes))
    assert said in str(error.value)


def test_a_model_that_was_trained_anew_in_its_folder_is_another(configured, base, monkeypatch):
    begun(configured(), monkeypatch)
    weights = base / "unet" / "diffusion_pytorch_model.safetensors"
    before = weights.stat()
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    with pytest.raises(UserError, match="holds a run, but files of base have changed since; give --overwrite to draw anew"):
        run(configured())
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_old_output_stays_until_the_new_one_is_complete_and_then_goes(configured, whole, monkeypatch):
    run(configured(limit=1))
    old = contents(configured().out)
    begun(configured(overwrite=True), monkeypatch)
    assert contents(configured().out) == old
    run(configured())  # goes on without being told again
    assert contents(configured().out) == whole
    assert sorted(path.name for path in configured().out.parent.iterdir() if "pictures" in path.name) == ["pictures"]


def test_what_somebody_else_put_there_is_never_overwritten(configured, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="pictures holds something else, which is never overwritten"):
        run(configured(overwrite=True))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; give the name of a folder"):
        run(configured(out=str(tmp_path / "file"), overwrite=True))
    with pytest.raises(UserError, match="Not a directory; choose another place"):
        run(configured(out=str(tmp_path / "file" / "pictures")))
    assert (tmp_path / "pictures" / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_is_a_sentence_and_the_run_goes_on_after_it(configured, whole, monkeypatch):
    save = ShardFolder._save

    def full(self, table, file):
        file.write(b"PAR1")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "_save", lambda self, table, file: (full if "part-000002" in file.name else save)(self, table, file))
        with pytest.raises(UserError, match=r"part-000002.parquet: No space left on device; free some space"):
            run(configured())
    assert finished(configured().out) is None
    run(configured())
    assert contents(configured().out) == whole
    assert json.loads((configured().out / ".settings.json").read_text())["settings"]["seeds_per_prompt"] == 2
