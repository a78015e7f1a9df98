"""DocVQA, validation: questions on scanned documents, answered by a span, scored by ANLS.

Source: Mathew et al. (2020), arXiv 2007.00398; the parquet of `lmms-lab/DocVQA` (configuration
DocVQA), VLMEvalKit's `DocVQA_VAL.tsv`, or the challenge's `val_v1.0*.json` beside `documents`.
Everything is as for InfographicVQA: same files, same score.
"""

from functools import partial

from lookless.benchmarks import infovqa
from lookless.benchmarks.benchmark import Benchmark
from lookless.grading.anls import anls

_FILES = (
    "DocVQA/validation-*.parquet",
    "validation-*.parquet",
    "*.parquet",
    "DocVQA_VAL.tsv",
    "val_v1.0*.json",
)

BENCHMARK = Benchmark(
    name="docvqa",
    title="DocVQA validation",
    about="Questions on scanned documents, answered by a span; ANLS.",
    home="lmms-lab/DocVQA",
    files=_FILES,
    licence="Apache-2.0 (card of lmms-lab/DocVQA)",
    clusters="image",
    counts={"": 5349},
    load=partial(infovqa.load, patterns=_FILES),
    grade=anls,
    score=infovqa.score,
)
