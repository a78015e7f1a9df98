"""All benchmarks by the name that the command line knows."""

import difflib

from lookless.benchmarks import (
    chartqa,
    countbenchqa,
    docvqa,
    hrbench,
    infovqa,
    lookworld,
    mmbench,
    mme_realworld_lite,
    mmmu,
    mmstar,
    own,
    pope,
    tallyqa,
    textvqa,
    treebench,
    visualprobe,
    vstar,
    zoombench,
)
from lookless.benchmarks.benchmark import Benchmark
from lookless.errors import ConfigError

BENCHMARKS: dict[str, Benchmark] = {
    "vstar": vstar.BENCHMARK,
    "hrbench_4k": hrbench.BENCHMARK_4K,
    "hrbench_8k": hrbench.BENCHMARK_8K,
    "mme_realworld_lite": mme_realworld_lite.BENCHMARK,
    "treebench": treebench.BENCHMARK,
    "visualprobe_easy": visualprobe.EASY,
    "visualprobe_medium": visualprobe.MEDIUM,
    "visualprobe_hard": visualprobe.HARD,
    "zoombench": zoombench.BENCHMARK,
    "mmstar": mmstar.BENCHMARK,
    "infovqa": infovqa.BENCHMARK,
    "docvqa": docvqa.BENCHMARK,
    "chartqa": chartqa.BENCHMARK,
    "textvqa": textvqa.BENCHMARK,
    "pope": pope.BENCHMARK,
    "mmbench": mmbench.BENCHMARK,
    "mmbench_v11": mmbench.BENCHMARK_V11,
    "mmmu": mmmu.BENCHMARK,
    "tallyqa": tallyqa.BENCHMARK,
    "countbenchqa": countbenchqa.BENCHMARK,
    "lookworld": lookworld.BENCHMARK,
    "own": own.BENCHMARK,
}


def benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    close = difflib.get_close_matches(name.lower().replace("-", "_"), BENCHMARKS, n=1)
    advice = f"did you mean {close[0]}?" if close else "choose one of them"
    raise ConfigError(f"benchmark must be one of {', '.join(BENCHMARKS)}, got {name!r}; {advice}")
