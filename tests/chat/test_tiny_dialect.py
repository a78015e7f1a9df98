from lookless.chat import tiny
from lookless.chat.chatml import ChatML
from lookless.episode import TRAINED_MODES
from lookless.frames import Frame
from lookless.lookworld.tiny import MERGE, PATCH, VIEW_PX
from lookless.vlm import VLM


def test_tiny_model_writes_boxes_in_permille(vlm: VLM) -> None:
    assert vlm.chat.frame is Frame.PERMILLE


def test_every_trained_mode_has_its_own_instruction() -> None:
    assert set(tiny.WORDING.modes) == set(TRAINED_MODES)
    assert len(set(tiny.WORDING.modes.values())) == len(TRAINED_MODES)


def test_square_overview_gets_the_largest_view(chat: ChatML) -> None:
    assert chat.budget.visual_tokens(VIEW_PX, VIEW_PX) == (VIEW_PX // (PATCH * MERGE)) ** 2
    assert chat.budget.resized(1024, 1024) == (VIEW_PX, VIEW_PX)
    assert chat.budget.resized(4096, 4096) == (VIEW_PX, VIEW_PX)
