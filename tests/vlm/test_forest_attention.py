from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from lookless.vlm import Segment
from lookless.vlm.forest import GRAIN, grow
from lookless.vlm.forest_attention import Layout, attend, why_not_on

SCALE = 0.3
forests = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 30)), min_size=1, max_size=6
)


def layout_of(shape: list[tuple[int, int, int]]) -> Layout:
    """Return the layout of rows that share a start, a middle, both or nothing."""
    rows = [
        [*[1 + start] * 2 * GRAIN, *[3 + middle] * GRAIN, *range(10 + 40 * k, 10 + 40 * k + own)]
        for k, (start, middle, own) in enumerate(shape)
    ]
    return Layout(grow([Segment(row, []) for row in rows], 0).spans, torch.device("cpu"))


def inputs(
    layout: Layout, heads: int, groups: int, dtype: torch.dtype, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    length = len(layout.last_L)
    q, k, v = (
        torch.randn(1, count, length, 8, generator=drawn, dtype=torch.float64)
        .to(dtype)
        .requires_grad_()
        for count in (heads, groups, groups)
    )
    return q, k, v


def dense(q_BHLC: Tensor, k_BKLC: Tensor, v_BKLC: Tensor, layout: Layout) -> Tensor:
    """Attend with a mask of all pairs."""
    places = torch.arange(len(layout.last_L))
    mask = layout.sees(places[:, None], places)
    return scaled_dot_product_attention(
        q_BHLC, k_BKLC, v_BKLC, attn_mask=mask, scale=SCALE, enable_gqa=True
    )


def gradients(out: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return list(torch.autograd.grad((out * weights).sum(), of))


@given(forests)
def test_tokens_see_what_is_before_them_on_their_row(shape: list[tuple[int, int, int]]) -> None:
    rows = [[1 + start] * 2 * GRAIN + [10 + k] * own for k, (start, _, own) in enumerate(shape)]
    forest = grow([Segment(row, []) for row in rows], 0)
    layout = Layout(forest.spans, torch.device("cpu"))
    places = torch.arange(len(forest))
    seen = layout.sees(places[:, None], places)
    expected = torch.zeros_like(seen)
    for columns in forest.columns:
        for t, query in enumerate(columns):
            expected[query, columns[: t + 1]] = True
    assert torch.equal(seen, expected)


@settings(deadline=None)
@given(forests, st.sampled_from([(4, 4), (4, 2), (3, 1)]))
def test_attention_and_gradients_are_those_of_a_mask(
    shape: list[tuple[int, int, int]], heads: tuple[int, int]
) -> None:
    layout = layout_of(shape)
    given_ = inputs(layout, *heads, torch.float64)
    ours, theirs = attend(*given_, layout, SCALE), dense(*given_, layout)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours, given_), gradients(theirs, given_))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_precision_is_that_of_the_inputs(dtype: torch.dtype, tolerance: float) -> None:
    layout = layout_of([(0, 0, 30), (0, 0, 20), (0, 1, 25), (1, 0, 9)])
    given_ = inputs(layout, 4, 2, dtype)
    q, k, v = (value.detach().double().requires_grad_() for value in given_)
    exact = q, k, v
    ours, theirs = attend(*given_, layout, SCALE), dense(*exact, layout)
    assert ours.dtype == dtype
    pairs = zip([ours, *gradients(ours, given_)], [theirs, *gradients(theirs, exact)], strict=True)
    for one, other in pairs:
        error = (one.double() - other).norm() / other.norm()
        assert error < tolerance


def test_the_mask_for_gpus_says_the_same() -> None:
    layout = layout_of([(0, 0, 30), (0, 0, 20), (0, 1, 25), (1, 0, 9)])
    given_ = inputs(layout, 4, 2, torch.float32)
    q, k, v = (value.detach() for value in given_)
    flex = flex_attention(
        q,
        k,
        v,
        block_mask=layout.block_mask,
        scale=SCALE,
        enable_gqa=True,
    )
    torch.testing.assert_close(flex, dense(*given_, layout), rtol=1e-4, atol=1e-5)


def test_no_gradient_where_none_is_asked_for() -> None:
    layout = layout_of([(0, 0, 3), (0, 0, 4)])
    given_ = inputs(layout, 2, 2, torch.float32)
    with torch.no_grad():
        out = attend(*given_, layout, SCALE)
    assert not out.requires_grad


def test_attention_is_tried_before_it_is_relied_on() -> None:
    cpu = torch.device("cpu")
    assert why_not_on(cpu, torch.float32) is None
    for dtype in (torch.float32, torch.bfloat16):
        assert why_not_on(cpu, dtype, lambda *given: attend(*given)) is None

    def broken(*given: object) -> Tensor:
        raise RuntimeError("no kernel\nfor this GPU")

    def wrong(q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float) -> Tensor:
        return attend(q, k, v, layout, 2 * scale)

    assert why_not_on(cpu, torch.float32, broken) == (
        "attention over packed rows failed: no kernel"
    )
    assert "is off by" in str(why_not_on(cpu, torch.float32, wrong))
