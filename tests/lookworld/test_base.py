from PIL import Image

from lookless.lookworld.base import MIN_VIEW_PX
from lookless.lookworld.tiny import VIEW_PX
from lookless.vlm import VLM


def test_new_base_speaks_the_tiny_dialect(vlm: VLM) -> None:
    assert vlm.model.config.lookless_family == "tiny"
    assert vlm.model.config.image_token_id == vlm.chat.image_pad_id
    assert vlm.model.config.get_text_config().eos_token_id == vlm.chat.end_id


def test_small_crops_are_enlarged_to_the_smallest_view(vlm: VLM) -> None:
    assert vlm.chat.budget.resized(20, 20) == (VIEW_PX, VIEW_PX)
    assert 128 < MIN_VIEW_PX < VIEW_PX


def test_views_reach_the_model_at_their_own_size(vlm: VLM) -> None:
    sizes = [(160, 160), (128, 128), (160, 96)]
    features = vlm.image_features([Image.new("RGB", size) for size in sizes])
    assert [f.grid_thw for f in features] == [(1, 10, 10), (1, 8, 8), (1, 6, 10)]
    assert [len(f.tokens_ND) for f in features] == [25, 16, 15]
