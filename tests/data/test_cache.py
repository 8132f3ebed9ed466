"""The cache gives back what was put in, to every reader, however writers come, go and are killed."""

import json
import multiprocessing
import pickle

import pytest
import torch

from mmalign.data import cache as cache_module
from mmalign.data.cache import TensorCache
from mmalign.data.digest import digest
from mmalign.errors import UserError


def entry(number):
    """Tensors of one of three forms, which follow from the number."""
    made = torch.Generator().manual_seed(number)
    forms = [
        {"mean": torch.randn(2, 3, generator=made), "std": torch.rand(2, 3, generator=made).bfloat16()},
        {"mean": torch.randn(4, 3, generator=made), "std": torch.rand(4, 3, generator=made).bfloat16()},
        {"counts": torch.tensor(number % 2 == 0), "rewards": torch.empty(1, 0), "order": torch.arange(number % 7 + 1)},
    ]
    return forms[number % 3]


def entries(numbers):
    return {digest("entry", number): entry(number) for number in numbers}


def assert_holds(cache, numbers):
    for key, tensors in entries(numbers).items():
        found = cache.get(key)
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_was_put_is_given_back_to_the_bit(on_disk, tmp_path):
    """Over enough keys that some of them end in a zero byte."""
    cache = TensorCache(tmp_path if on_disk else None)
    for start in range(0, 1500, 500):
        cache.put(entries(range(start, start + 500)))
    assert_holds(cache, range(0, 1500, 7))
    assert cache.missing(entries(range(1498, 1502))) == list(entries([1500, 1501]))
    if on_disk:
        again = TensorCache(tmp_path)
        assert again.missing(entries(range(1500))) == []
        assert_holds(again, range(0, 1500, 7))
        assert all(key in again for key in entries(range(1500)))


def test_an_absent_key_is_an_error(tmp_path):
    cache = TensorCache(tmp_path)
    cache.put(entries([1]))
    for reader in (cache, TensorCache(tmp_path), TensorCache()):
        assert digest("other") not in reader
        with pytest.raises(KeyError):
            reader.get(digest("other"))


def test_what_others_write_is_seen_after_a_refresh(tmp_path):
    first, second = TensorCache(tmp_path), TensorCache(tmp_path)
    first.put(entries([0, 1]))
    assert second.missing(entries([0, 1])) == list(entries([0, 1]))
    second.put(entries([2]))
    for cache in (first, second):
        cache.refresh()
        assert_holds(cache, range(3))
        assert len(cache.shards) == 2
    first.refresh()
    assert len(first.shards) == 2


def test_a_writer_killed_before_its_line_loses_nothing(tmp_path):
    TensorCache(tmp_path).put(entries(range(5)))
    (index,) = tmp_path.glob("*.index")
    whole = index.read_bytes()
    for left in (b"", whole[: len(whole) // 2]):
        index.write_bytes(left)
        cache = TensorCache(tmp_path)
        assert_holds(cache, range(5))
    index.unlink()
    assert_holds(TensorCache(tmp_path), range(5))


def test_the_index_is_enough_to_know_what_is_there(tmp_path, monkeypatch):
    writer = TensorCache(tmp_path)
    for number in range(20):
        writer.put(entries([number]))
    monkeypatch.setattr(cache_module._Opened, "at", lambda path: pytest.fail(f"{path} was opened"))
    cache = TensorCache(tmp_path)
    assert cache.missing(entries(range(20))) == []
    assert sum(shard.size for shard in cache.shards) == sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert sum(map(len, cache.shards)) == 20


def test_a_half_written_shard_is_not_seen(tmp_path):
    TensorCache(tmp_path).put(entries([0]))
    (shard,) = tmp_path.glob("*.safetensors")
    (tmp_path / f".{shard.name}.1234.tmp").write_bytes(shard.read_bytes()[:50])
    assert len(TensorCache(tmp_path).shards) == 1


def test_a_removed_shard_is_missing_and_made_again(tmp_path):
    cache = TensorCache(tmp_path)
    cache.put(entries([0, 3]))
    cache.put(entries([6]))
    cache.drop(cache.shards[0])
    again = TensorCache(tmp_path)
    assert again.missing(entries([0, 3, 6])) == list(entries([0, 3]))
    again.put(entries([0, 3]))
    assert_holds(again, [0, 3, 6])


@pytest.mark.parametrize("damage", ["shard", "index"])
def test_damage_is_one_sentence_that_says_what_to_delete(damage, tmp_path):
    TensorCache(tmp_path).put(entries([0]))
    suffix = {"shard": "*.safetensors", "index": "*.index"}[damage]
    (path,) = tmp_path.glob(suffix)
    path.write_bytes(b"nonsense\n" * 20)
    with pytest.raises(UserError, match=rf"{path.name}.*delete it"):
        TensorCache(tmp_path).get(next(iter(entries([0]))))


def write(folder, start, done):
    cache = TensorCache(folder)
    for number in range(start, start + 40, 4):
        cache.put(entries(range(number, number + 4)))
    done.put(start)


def test_several_processes_write_at_once(tmp_path):
    fork = multiprocessing.get_context("fork")
    done = fork.Queue()
    writers = [fork.Process(target=write, args=(tmp_path, start, done)) for start in (0, 20, 60)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    cache = TensorCache(tmp_path)
    assert_holds(cache, range(100))
    lines = [json.loads(line)["shard"] for path in tmp_path.glob("*.index") for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(path.name for path in tmp_path.glob("*.safetensors"))


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "OPEN", 4)
    cache = TensorCache(tmp_path)
    for number in range(12):
        cache.put(entries([number]))
    assert_holds(cache, range(12))
    assert len(cache._open) == 4


def test_a_cache_that_does_not_write_reads_the_disk_and_keeps_the_rest_in_memory(tmp_path):
    TensorCache(tmp_path / "there").put(entries([0]))
    for folder, found in (("there", [0]), ("not there", [])):
        cache = TensorCache(tmp_path / folder, writes=False)
        assert cache.missing(entries([0, 1])) == [key for key in entries([0, 1]) if key not in entries(found)]
        cache.put(entries([0, 1]))
        assert_holds(cache, [0, 1])
    assert not (tmp_path / "not there").exists()
    assert len(list((tmp_path / "there").iterdir())) == 2


def test_it_travels_to_loader_processes(tmp_path):
    cache = TensorCache(tmp_path)
    cache.put(entries(range(4)))
    cache.get(next(iter(entries([0]))))
    assert_holds(pickle.loads(pickle.dumps(cache)), range(4))  # noqa: S301, as torch's loader sends it


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the cache's folder"):
        TensorCache(tmp_path / "file" / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
