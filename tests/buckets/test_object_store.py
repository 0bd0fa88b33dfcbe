"""Objects on real servers of each kind."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.versions.bucket.object_store import Bucket, BucketUnavailable, InvalidBucket


def test_of_many_that_make_the_same_object_one_does(url):
    buckets = [Bucket.at(url) for _ in range(4)]

    def create(number):
        return buckets[number % 4].create(f"{number // 16}", f"{number}".encode())

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(create, range(96)))
    for group in range(6):
        winners = [number for number in range(96) if number // 16 == group and done[number]]
        assert len(winners) == 1
        assert buckets[0].read(f"{group}") == f"{winners[0]}".encode()


def test_what_was_made_by_the_same_hand_is_its_own(url):
    """An answer was lost, and the library asked again."""
    bucket = Bucket.at(url)
    assert bucket.create("one", b"mine")
    assert bucket.create("one", b"mine")
    assert not bucket.create("one", b"another's")


def test_an_object_that_was_emptied_keeps_its_name(url):
    bucket = Bucket.at(url)
    bucket.create("a/1", b"something")
    bucket.empty("a/1")
    assert (bucket.read("a/1"), bucket.sizes()) == (b"", {"a/1": 0})
    assert not bucket.create("a/1", b"again")
    bucket.remove(["a/1", "a/2"])
    assert (bucket.read("a/1"), bucket.sizes()) == (None, {})


def test_neighbours_are_not_listed(url):
    Bucket.at(url).create("1", b"mine")
    Bucket.at(f"{url}2").create("1", b"another's")
    assert Bucket.at(url).sizes() == {"1": 4}
    assert Bucket.at(f"{url}/").read("1") == b"mine"


def test_what_lies_below_a_path_is_listed_alone(url):
    bucket = Bucket.at(url)
    for name in ("1", "jobs/a/1", "jobs/ab/1"):
        bucket.create(name, b"mine")
    assert bucket.sizes("jobs/a/") == {"jobs/a/1": 4}
    bucket.remove(["jobs/a/1"])
    assert bucket.sizes("jobs/a/") == {}
    assert bucket.sizes("jobs/") == {"jobs/ab/1": 4}


def test_a_bucket_that_can_be_used_is_left_as_it_was(url):
    Bucket.at(url).check()
    assert Bucket.at(url).sizes() == {}


def test_a_bucket_that_is_not_there_is_told(server):  # noqa: ARG001
    with pytest.raises(InvalidBucket, match="FileNotFoundError"):
        Bucket.at("s3://nowhere/mynet").check()
    with pytest.raises(BucketUnavailable, match="does not exist"):
        Bucket.at("s3://nowhere/mynet").create("1", b"")


def test_wrong_keys_are_told_without_the_keys(s3_url, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with pytest.raises(InvalidBucket, match="PermissionError") as excinfo:
        Bucket.at(s3_url).check()
    assert "a-wrong-secret" not in str(excinfo.value)
