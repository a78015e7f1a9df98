from collections.abc import Iterator
from itertools import chain, groupby, pairwise, product, takewhile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookless.vlm import ImageFeatures, Segment
from lookless.vlm.forest import GRAIN, Forest, grow, in_order, keys_of, packed_batches, shared

IMAGE = 0
ENDS = [[], [1], [1, 2], [3] * GRAIN, [*[3] * GRAIN, 4], [5] * 2 * GRAIN]
rows_of_tokens = st.lists(
    st.lists(st.sampled_from(ENDS), min_size=1, max_size=4).map(lambda parts: [*chain(*parts)]),
    min_size=1,
    max_size=8,
).filter(lambda rows: all(rows))


def image(tokens: int) -> ImageFeatures:
    return ImageFeatures(torch.zeros(tokens, 1), ())


def packed_ids(forest: Forest) -> list[int]:
    return [token for node in forest.nodes for token in node.segment.token_ids]


def path(forest: Forest, place: int | None) -> list[int]:
    """Return the places of a node and those that it follows."""
    found = []
    while place is not None:
        found.append(place)
        place = forest.nodes[place].parent
    return found[::-1]


@given(rows_of_tokens)
def test_each_row_is_found_where_it_was_packed(rows: list[list[int]]) -> None:
    forest = grow([Segment(row, []) for row in rows], IMAGE)
    ids = packed_ids(forest)
    assert len(ids) == len(forest)
    assert [[ids[k] for k in places] for places in forest.columns] == rows


@given(rows_of_tokens)
def test_a_row_is_a_path_and_spans_hold_all_that_follows(rows: list[list[int]]) -> None:
    forest = grow([Segment(row, []) for row in rows], IMAGE)
    spans = forest.spans
    assert [span.start for span in spans] == [0, *[span.end for span in spans]][:-1]
    paths = [path(forest, place) for place in range(len(spans))]
    for places in forest.columns:
        last = next(k for k, span in enumerate(spans) if span.end == places[-1] + 1)
        on_path = [np.arange(spans[k].start, spans[k].end) for k in paths[last]]
        assert np.concatenate(on_path).tolist() == places.tolist()
    for place, span in enumerate(spans):
        behind = [k for k, nodes in enumerate(paths) if place in nodes]
        assert behind == list(range(place, place + len(behind)))
        assert span.last == spans[behind[-1]].end


PICTURES = [image(n) for n in (1, 5, GRAIN, GRAIN + 3, 2 * GRAIN + 1)]
pieces = st.sampled_from([*PICTURES, *(text for text in ENDS if text)])
"""Pictures, some of which begin or end inside of a grain, and texts."""


@st.composite
def rows_with_pictures(draw: st.DrawFn) -> list[Segment]:
    """Return rows of texts and pictures; two pictures never touch, as in prompts they do not."""
    rows = []
    starts: list[list[Any]] = [[]]
    for _ in range(draw(st.integers(1, 6))):
        parts = [*draw(st.sampled_from(starts)), *draw(st.lists(pieces, min_size=1, max_size=4))]
        starts.append(parts)
        ids: list[int] = []
        seen: list[ImageFeatures] = []
        for part in parts:
            if isinstance(part, ImageFeatures):
                ids += [7] * (bool(ids) and ids[-1] == IMAGE) + [IMAGE] * len(part.tokens_ND)
                seen.append(part)
            else:
                ids += part
        rows.append(Segment(ids, seen))
    return rows


@settings(deadline=None)
@given(rows_with_pictures(), st.integers(1, 200))
def test_pictures_are_where_their_tokens_are_and_never_cut(
    rows: list[Segment], max_tokens: int
) -> None:
    forest = grow(rows, IMAGE)
    ids, pictures = packed_ids(forest), [p for node in forest.nodes for p in node.segment.images]
    assert ids.count(IMAGE) == sum(len(p.tokens_ND) for p in pictures)
    for node in forest.nodes:
        runs = [len([*run]) for is_image, run in groupby(node.segment.token_ids, IMAGE.__eq__)
                if is_image]  # fmt: skip
        assert runs == [len(p.tokens_ND) for p in node.segment.images]
    by_token = dict(
        zip([k for k, token in enumerate(ids) if token == IMAGE],
            [p for p in pictures for _ in range(len(p.tokens_ND))], strict=True)
    )  # fmt: skip
    for row, places in zip(rows, forest.columns, strict=True):
        assert [ids[k] for k in places] == list(row.token_ids)
        own = [by_token[k] for k in places if ids[k] == IMAGE]
        expected = [p for p in row.images for _ in range(len(p.tokens_ND))]
        assert all(a is b for a, b in zip(own, expected, strict=True))
    keys = keys_of([(row.token_ids, [id(p) for p in row.images]) for row in rows], IMAGE)
    for batch in packed_batches(keys, max_tokens):
        alone = [rows[k] for k in batch]
        assert len(grow(alone, IMAGE)) <= max_tokens or len(batch) == 1


def test_what_rows_begin_alike_with_is_packed_once_but_not_a_few_tokens() -> None:
    start = list(range(1, 1 + 2 * GRAIN))
    few, many = [91] * (GRAIN - 1), [92] * (GRAIN + 1)
    rows = [[*start, *few, 7], [*start, *few, 8], [*start, *many, 7], [*start, *many, 8], [5]]
    forest = grow([Segment(row, []) for row in rows], IMAGE)
    assert len(forest) == len(start) + 2 * (len(few) + 1) + GRAIN + 2 * 2 + 1
    equal = grow([Segment(start, [])] * 5, IMAGE)
    assert len(equal) == len(start)


def test_images_are_shared_if_they_are_the_same_object_and_never_cut() -> None:
    text = list(range(1, 1 + GRAIN))
    one, other = image(3), image(3)
    rows = [
        Segment([*text, IMAGE, IMAGE, IMAGE, *text, IMAGE, IMAGE, IMAGE, 9], [one, other]),
        Segment([*text, IMAGE, IMAGE, IMAGE, *text, 8], [one]),
        Segment([*text, IMAGE, IMAGE, IMAGE, 7], [other]),
    ]
    forest = grow(rows, IMAGE)
    for node in forest.nodes:
        pads = sum(token == IMAGE for token in node.segment.token_ids)
        assert pads == 3 * len(node.segment.images)
    shown = [image for node in forest.nodes for image in node.segment.images]
    assert sorted(map(id, shown)) == sorted(map(id, [one, other, other]))
    assert len(forest) == sum(len(row.token_ids) for row in rows) - 2 * len(text) - GRAIN


def test_no_rows_make_no_forest() -> None:
    assert len(grow([], IMAGE)) == 0


@pytest.mark.parametrize(("tokens", "images"), [([1, 0, 2], []), ([1, 0, 2, 0], ["a"])])
def test_images_without_what_tells_them_apart_are_refused(
    tokens: list[int], images: list[str]
) -> None:
    with pytest.raises(ValueError, match="images"):
        keys_of([(tokens, images)], IMAGE)


@given(rows_of_tokens, st.integers(1, 120))
def test_batches_hold_every_row_once_within_the_limit(
    rows: list[list[int]], max_tokens: int
) -> None:
    keys = keys_of([(row, []) for row in rows], IMAGE)
    batches = packed_batches(keys, max_tokens)
    assert sorted(k for batch in batches for k in batch) == list(range(len(rows)))
    for batch in batches:
        size = len(grow([Segment(rows[k], []) for k in batch], IMAGE))
        assert size <= max_tokens or len(batch) == 1


def partitions(rows: list[Any]) -> Iterator[list[list[Any]]]:
    """Yield all ways to cut a list into neighbours."""
    for cuts in product([False, True], repeat=len(rows) - 1):
        parts = [[rows[0]]]
        for row, is_cut in zip(rows[1:], cuts, strict=True):
            parts[-1:] = [parts[-1], [row]] if is_cut else [[*parts[-1], row]]
        yield parts


@settings(max_examples=50, deadline=None)
@given(rows_of_tokens.filter(lambda rows: len(rows) < 7), st.integers(1, 120))
def test_batches_take_the_fewest_tokens(rows: list[list[int]], max_tokens: int) -> None:
    def packed(batches: list[list[int]]) -> list[int]:
        return [len(grow([Segment(rows[k], []) for k in batch], IMAGE)) for batch in batches]

    def fits(batches: list[list[int]]) -> bool:
        sizes = zip(batches, packed(batches), strict=True)
        return all(size <= max_tokens or len(batch) == 1 for batch, size in sizes)

    keys = keys_of([(row, []) for row in rows], IMAGE)
    possible = filter(fits, partitions(in_order(keys)))
    best = min(sum(packed(batches)) for batches in possible)
    assert sum(packed(packed_batches(keys, max_tokens))) == best


def test_rows_that_begin_alike_go_together() -> None:
    starts = [list(range(1, 101)), list(range(201, 301))]
    rows = [[*starts[k % 2], 400 + k] for k in range(8)]
    batches = packed_batches(keys_of([(row, []) for row in rows], IMAGE), 120)
    assert [sorted(batch) for batch in batches] == [[0, 2, 4, 6], [1, 3, 5, 7]]


@given(rows_of_tokens)
def test_neighbours_share_whole_grains_of_what_they_begin_alike_with(rows: list[list[int]]) -> None:
    for one, other in pairwise(rows):
        pairs = zip(one, other, strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        assert shared(np.array(one), np.array(other)) == alike // GRAIN * GRAIN
