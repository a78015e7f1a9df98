"""Rows of tokens packed into one, in which what several rows begin with stands once.

Rows that begin alike are the branches of a tree. Packed depth first, all that follows a token on
some row lies in one span behind it: a token sees those before it whose span it is in.

Shapes: L packed tokens.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lookless.vlm.features import ImageFeatures, Segment

GRAIN = 16
"""Rows branch after a multiple of so many tokens: a few shared ones are not worth a span."""

Keys = np.ndarray
"""What tells the tokens of a row apart from those of others: ids, and numbers below 0 for images'
tokens, one for each distinct image."""


@dataclass(frozen=True)
class Span:
    """Consecutive packed tokens that the same rows go through."""

    start: int
    end: int
    last: int
    """End of all that follows on these rows; what starts at `end` and ends here sees the span."""


@dataclass(frozen=True)
class Node:
    """A span with what stands there."""

    span: Span
    parent: int | None
    """Place of the node that it follows, None for a root."""
    segment: Segment


@dataclass(frozen=True)
class Forest:
    """Rows packed into one."""

    nodes: tuple[Node, ...]
    """In the order of their spans, which cover all packed tokens."""
    columns: tuple[np.ndarray, ...]
    """For each row, where its tokens are packed."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """Return the spans of the nodes."""
        return tuple(node.span for node in self.nodes)

    def __len__(self) -> int:
        """Return the number of packed tokens."""
        return self.nodes[-1].span.end if self.nodes else 0


def keys_of(rows: Sequence[tuple[Sequence[int], Sequence[Hashable]]], image_id: int) -> list[Keys]:
    """Return the keys of rows: equal where tokens are, of images too.

    Args:
        rows: Token ids, and what tells the images among them apart, in order.
        image_id: The token that stands for images; each uninterrupted run of it is one image.

    Raises:
        ValueError: If a row has more or fewer images than runs.

    Example:
        >>> [keys.tolist() for keys in keys_of([([5, 0, 0, 7], ["a"]), ([5, 0, 6], ["b"])], 0)]
        [[5, -1, -1, 7], [5, -2, 6]]
    """
    numbers: dict[Hashable, int] = {}
    found = []
    for token_ids, images in rows:
        keys = np.array(token_ids, dtype=np.int64)
        is_image = keys == image_id
        of_image = _runs(is_image)[is_image]
        runs = int(of_image[-1]) + 1 if len(of_image) else 0
        if runs != len(images):
            raise ValueError(
                f"a row must have an image for each of {runs} runs, got {len(images)} images"
            )
        own = np.array([-1 - numbers.setdefault(image, len(numbers)) for image in images], np.int64)
        keys[is_image] = own[of_image]
        found.append(keys)
    return found


def in_order(rows: Sequence[Keys]) -> list[int]:
    """Return the places of rows such that those that begin alike are neighbours.

    Example:
        >>> in_order([np.array([1, 2]), np.array([3]), np.array([1])])
        [2, 0, 1]
    """
    return sorted(range(len(rows)), key=lambda row: rows[row].tolist())


def shared(one: Keys, other: Keys) -> int:
    """Return how many tokens that two rows begin with are packed once.

    They end at a multiple of `GRAIN`; where that cuts an image, at the image's end if the rows
    share it whole, and before it if not.

    Example:
        >>> text, image = np.arange(20), np.full(20, -1)
        >>> shared(text, text), shared(np.append(text, image), np.append(text, image))
        (16, 40)
        >>> shared(np.append(text, image), np.append(text, image - 1))
        16
    """
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    alike = int(differs.argmax()) if differs.any() else length
    depth = alike // GRAIN * GRAIN
    begin, end = depth, depth
    while 0 < begin < len(one) and one[begin - 1] < 0 and one[begin] == one[begin - 1]:
        begin -= 1
    if begin == depth:
        return depth
    while end < len(one) and one[end] == one[depth]:
        end += 1
    return end if end <= alike else begin


def packed_batches(rows: Sequence[Keys], max_tokens: int) -> list[list[int]]:
    """Return batches of rows' places, each packed into at most `max_tokens` tokens.

    Neighbours of `in_order` are cut apart where it takes the fewest tokens in all, which is
    between rows that share little. A longer row is a batch by itself.

    Example:
        >>> packed_batches([np.arange(40), np.arange(90, 130), np.arange(50)], 60)
        [[0, 2], [1]]
        >>> packed_batches([np.arange(9), np.arange(20, 60), np.arange(20, 61)], 55)
        [[0], [1, 2]]
    """
    order = in_order(rows)
    depths = [shared(rows[one], rows[other]) for one, other in pairwise(order)]
    # For so many of the first rows: their fewest tokens, and where the last batch begins.
    fewest, begins = [0], [0]
    for end in range(1, len(order) + 1):
        held = len(rows[order[end - 1]])
        best, begin = fewest[end - 1] + held, end - 1
        for k in range(end - 2, -1, -1):
            held += len(rows[order[k]]) - depths[k]
            if held > max_tokens:
                break
            if fewest[k] + held <= best:
                best, begin = fewest[k] + held, k
        fewest.append(best)
        begins.append(begin)
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.append(order[begins[end] : end])
        end = begins[end]
    return batches[::-1]


def grow(rows: Sequence[Segment], image_id: int) -> Forest:
    """Return rows packed into one.

    Images are told apart as objects: features that were computed once.

    Args:
        rows: Tokens and features.
        image_id: As in `keys_of`.

    Raises:
        ValueError: As `keys_of`.
    """
    keys = keys_of([(row.token_ids, [id(image) for image in row.images]) for row in rows], image_id)
    order = in_order(keys)
    depths = [shared(keys[one], keys[other]) for one, other in pairwise(order)]
    nodes: list[Node] = []
    columns: list[list[np.ndarray]] = [[np.arange(0)] for _ in rows]

    def branch(low: int, high: int, depth: int, parent: int | None, start: int) -> int:
        """Pack rows `low` to `high` of the order from a depth on; return the end."""
        least = min(depths[low : high - 1], default=len(keys[order[low]]))
        place, end = parent, start + least - depth
        if end > start:
            place = len(nodes)
            segment = _part(rows[order[low]], keys[order[low]], depth, least)
            nodes.append(Node(Span(start, end, end), parent, segment))
            for row in order[low:high]:
                columns[row].append(np.arange(start, end))
        last, first = end, low
        for k in range(low + 1, high + 1):
            if k < high and depths[k - 1] > least:
                continue
            if len(keys[order[k - 1]]) > least:
                last = branch(first, k, least, place, last)
            first = k
        if place is not None and place != parent:
            nodes[place] = replace(nodes[place], span=Span(start, end, last))
        return last

    if rows:
        branch(0, len(rows), 0, None, 0)
    return Forest(tuple(nodes), tuple(np.concatenate(parts) for parts in columns))


def _part(row: Segment, keys: Keys, start: int, end: int) -> Segment:
    """Return some of a row's tokens with their images, none of which is cut."""
    is_image = keys < 0
    seen = np.unique(_runs(is_image)[start:end][is_image[start:end]])
    images: list[ImageFeatures] = [row.images[k] for k in seen]
    return Segment(row.token_ids[start:end], images)


def _runs(is_image: np.ndarray) -> np.ndarray:
    """Return for each token of a row how many runs of images began before its own one."""
    begins = is_image & ~np.concatenate([[False], is_image[:-1]])
    return np.cumsum(begins) - 1
