from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import Qwen2_5_VLTextConfig
from transformers.cache_utils import DynamicLayer

from lookless.errors import ConfigError
from lookless.policies.hf import HfPolicy
from lookless.policies.policy import Prompt
from lookless.policies.rows import ROOM, RoomyLayer, Rows, joined, new_cache
from lookless.vlm import VLM


def values(rows: int, tokens: int, seed: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, rows, 2, tokens, 4, generator=drawn)
    return one, other


@given(
    st.lists(
        st.one_of(st.integers(1, ROOM + 9), st.lists(st.integers(0, 2), min_size=3, max_size=3)),
        min_size=1,
        max_size=8,
    )
)
def test_a_layer_with_room_holds_what_one_without_holds(does: list[int | list[int]]) -> None:
    """Tokens are appended, or rows chosen, some twice."""
    roomy, usual = RoomyLayer(), DynamicLayer()
    for k, what in enumerate(does):
        if isinstance(what, int):
            given_ = values(3, what, k)
            for ours, theirs in zip(roomy.update(*given_), usual.update(*given_), strict=True):
                assert torch.equal(ours, theirs)
        else:
            roomy.batch_select_indices(torch.tensor(what))
            usual.batch_select_indices(torch.tensor(what))
    assert roomy.get_seq_length() == usual.get_seq_length()


def test_appending_a_token_moves_nothing() -> None:
    layer = RoomyLayer()
    layer.update(*values(2, 10, 0))
    assert layer.keys is not None
    place = layer.keys.data_ptr()
    for k in range(ROOM):
        layer.update(*values(2, 1, k))
        assert layer.keys.data_ptr() == place


def test_layers_with_a_window_are_refused() -> None:
    config = Qwen2_5_VLTextConfig(
        num_hidden_layers=2, use_sliding_window=True, sliding_window=8, max_window_layers=1
    )
    with pytest.raises(ConfigError, match="use engine vllm"):
        new_cache(config)


def rows_of(vlm: VLM, names: list[int], masks: list[list[int]]) -> Rows:
    cache = new_cache(vlm.model.config.get_text_config())
    layers: list[Any] = cache.layers
    for k, layer in enumerate(layers):
        layer.update(*values(len(names), len(masks[0]), k + 10 * names[0]))
    return Rows(names, cache, torch.tensor(masks), [sum(mask) for mask in masks])


def real(rows: Rows, name: int) -> list[Tensor]:
    """Return the keys of a row's real tokens, layer by layer."""
    row = rows.names.index(name)
    return [layer.keys[row][:, rows.mask_BS[row].bool()] for layer in rows.layers]


def test_parted_and_joined_rows_keep_their_tokens(vlm: VLM) -> None:
    one = rows_of(vlm, [4, 7, 9], [[1, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 1]])
    other = rows_of(vlm, [5], [[1, 1, 1, 1, 1, 1]])
    part = one.part([2, 0])
    assert (part.names, part.ends) == ([9, 4], [2, 3])
    assert part.mask_BS.tolist() == [[0, 1, 1], [1, 1, 1]]  # the hole of both is gone
    held = {9: real(one, 9), 4: real(one, 4), 5: real(other, 5)}
    whole = joined([part, other])
    assert (whole.names, whole.ends) == ([9, 4, 5], [2, 3, 6])
    assert whole.mask_BS.shape == (3, 6)
    for name, before in held.items():
        for ours, theirs in zip(real(whole, name), before, strict=True):
            assert torch.equal(ours, theirs)
    assert all(layer.keys.isfinite().all() for layer in whole.layers)


@pytest.mark.parametrize("share", [0.0, 0.999])
def test_rows_that_step_aside_change_no_rollout(
    ending_vlm: VLM, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Never, or as soon as one has ended its turn."""
    monkeypatch.setattr("lookless.policies.hf.MOST_OPEN", share)
    session = HfPolicy(ending_vlm, seed=3).start(prompts * 3)
    turns = session.step(dict.fromkeys(range(18)), 20)
    assert {len(rows.names) for rows in session.held} == {18} or share > 0
    assert sorted(name for rows in session.held for name in rows.names) == list(range(18))
    # What was drawn is known from the usual share.
    monkeypatch.undo()
    usual = HfPolicy(ending_vlm, seed=3).start(prompts * 3)
    expected = usual.step(dict.fromkeys(range(18)), 20)
    assert {row: turn.token_ids for row, turn in turns.items()} == {
        row: turn.token_ids for row, turn in expected.items()
    }
