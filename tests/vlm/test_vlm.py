from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lookless.episode import Mode, Question
from lookless.errors import CheckpointError
from lookless.frames import Box, Frame, View
from lookless.images import SourceCache
from lookless.lookworld.tiny import HIDDEN
from lookless.picture import Picture
from lookless.vlm import VLM, FeatureCache, ImageFeatures, Segment, load_vlm

MakeQuestion = Callable[..., Question]


@pytest.fixture
def pictures(sources: SourceCache, make_question: MakeQuestion) -> list[Picture]:
    """Return four distinct pictures of three sizes from two sources."""
    boxes = [((0, 0, 640, 640), 160, 160), ((100, 100, 400, 300), 160, 96)]
    boxes += [((0, 0, 100, 100), 128, 128), ((10, 0, 110, 100), 128, 128)]
    names = ["a", "a", "b", "b"]
    return [
        Picture(sources.get(make_question(name).image), View(Box(*box, Frame.SOURCE), w, h))
        for name, (box, w, h) in zip(names, boxes, strict=True)
    ]


def prompt_of(vlm: VLM, picture: Picture, features: ImageFeatures, text: str) -> Segment:
    mode = Mode.ADAPTIVE
    prefix, rest = vlm.chat.prompt(picture.view, text, mode)
    return Segment([*prefix, *rest], [features])


@torch.no_grad()
def test_saved_model_comes_back(vlm: VLM, tmp_path: Path, pictures: list[Picture]) -> None:
    vlm.save(tmp_path)
    loaded = load_vlm(tmp_path)
    assert loaded.chat.budget == vlm.chat.budget
    assert loaded.chat.encode("<think>[25, 1000]") == vlm.chat.encode("<think>[25, 1000]")
    hidden = []
    for one in (vlm, loaded):
        features = one.image_features([pictures[0].pixels])
        hidden.append(one.forward([prompt_of(one, pictures[0], features[0], "Where?")])[0])
    torch.testing.assert_close(hidden[0], hidden[1], rtol=0, atol=0)


def test_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        load_vlm(tmp_path / "missing")
    assert "missing" in str(caught.value)


def test_unknown_family_is_refused(tmp_path: Path, vlm: VLM) -> None:
    vlm.save(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"tiny"', '"huge"'))
    with pytest.raises(CheckpointError, match="family"):
        load_vlm(tmp_path)


@torch.no_grad()
def test_features_do_not_depend_on_what_else_is_in_the_batch(
    vlm: VLM, pictures: list[Picture]
) -> None:
    together = vlm.image_features([picture.pixels for picture in pictures])
    for picture, features in zip(pictures, together, strict=True):
        [alone] = vlm.image_features([picture.pixels])
        assert len(features.tokens_ND) == vlm.chat.visual_tokens(picture.view)
        assert features.grid == alone.grid
        torch.testing.assert_close(features.tokens_ND, alone.tokens_ND, rtol=1e-4, atol=1e-5)
    assert vlm.image_features([]) == []


@torch.no_grad()
@pytest.mark.parametrize("pad_left", [False, True])
def test_padding_changes_no_row(vlm: VLM, pictures: list[Picture], pad_left: bool) -> None:
    features = vlm.image_features([picture.pixels for picture in pictures])
    rows = [
        prompt_of(vlm, picture, one, "Where is it? " * k)
        for k, (picture, one) in enumerate(zip(pictures, features, strict=True))
    ]
    hidden_BTD, mask_BT, ends = vlm.forward(rows, pad_left=pad_left)
    for b, row in enumerate(rows):
        alone_BTD, _, [end] = vlm.forward([row])
        assert mask_BT[b].sum() == len(row.token_ids)
        assert ends[b] == end
        torch.testing.assert_close(
            hidden_BTD[b, mask_BT[b].bool()], alone_BTD[0], rtol=1e-3, atol=1e-4
        )


@torch.no_grad()
def test_positions_count_an_image_by_its_longer_side(vlm: VLM, pictures: list[Picture]) -> None:
    wide = pictures[1]  # 160 x 96 px: 5 x 3 visual tokens
    [features] = vlm.image_features([wide.pixels])
    row = Segment([*vlm.chat.encode("red"), *vlm.chat.image(wide.view)], [features])
    positions_3T, end = vlm.positions(row, 7)
    assert positions_3T[:, 0].tolist() == [7, 7, 7]
    assert end == 7 + len(row.token_ids) - 15 + 5
    grid = positions_3T[:, -16:-1]
    assert (grid[1] - grid[1].min()).tolist() == [y for y in range(3) for _ in range(5)]
    assert (grid[2] - grid[2].min()).tolist() == [x for _ in range(3) for x in range(5)]


@torch.no_grad()
def test_banned_tokens_have_no_probability(vlm: VLM) -> None:
    logits_BV = vlm.logits(torch.randn(2, HIDDEN))
    banned = torch.zeros(logits_BV.shape[-1], dtype=torch.bool)
    banned[list(vlm.chat.banned_ids)] = True
    assert torch.isneginf(logits_BV[:, banned]).all()
    assert torch.isfinite(logits_BV[:, ~banned]).all()


def test_cache_computes_each_picture_once(
    vlm: VLM, pictures: list[Picture], image_batches: list[int]
) -> None:
    cache = FeatureCache(vlm)
    first = cache.encode([pictures[0], pictures[1], pictures[0]])
    assert image_batches == [2]
    assert first[0] is first[2]
    second = cache.encode([pictures[1], pictures[2]])
    assert image_batches == [2, 1]
    assert second[0] is first[1]
    assert not first[0].tokens_ND.requires_grad


def test_full_cache_forgets_the_oldest_but_answers_all(vlm: VLM, pictures: list[Picture]) -> None:
    one = FeatureCache(vlm).encode(pictures[:1])[0]
    assert one.nbytes == sum(level.numel() * 4 for level in (one.tokens_ND, *one.deepstack))
    cache = FeatureCache(vlm, max_bytes=2 * one.nbytes)
    found = cache.encode(pictures, batch=3)
    assert len(found) == 4
    newest = cache.encode([pictures[0]])[0]
    assert torch.equal(newest.tokens_ND, found[0].tokens_ND)
    cache.encode([pictures[1]])
    cache.encode([pictures[2]])
    assert cache.encode([pictures[2]])[0] is cache.encode([pictures[2]])[0]
    assert cache.encode([pictures[0]])[0] is not newest
