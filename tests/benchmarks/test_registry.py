import pytest

from lookless.benchmarks.registry import BENCHMARKS, benchmark
from lookless.errors import ConfigError


def test_every_benchmark_is_listed_under_its_own_name() -> None:
    assert {name: one.name for name, one in BENCHMARKS.items()} == {n: n for n in BENCHMARKS}
    assert benchmark("pope") is BENCHMARKS["pope"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_is(name: str) -> None:
    one = BENCHMARKS[name]
    assert all([one.title, one.about, one.home, one.files, one.licence, one.clusters])
    assert "\n" not in one.about
    assert all(count > 0 for count in one.counts.values())


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_scores_nothing_as_nothing(name: str) -> None:
    assert all(metric.value is None for metric in BENCHMARKS[name].score([]))


@pytest.mark.parametrize(("said", "close"), [("HR-Bench-4k", "hrbench_4k"), ("mmstarr", "mmstar")])
def test_unknown_name_lists_all_and_the_closest(said: str, close: str) -> None:
    with pytest.raises(ConfigError, match=rf"one of vstar, .* got '{said}'; did you mean {close}"):
        benchmark(said)


def test_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(ConfigError, match="got 'zzz'; choose one of them"):
        benchmark("zzz")
