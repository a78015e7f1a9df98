import copy
import zlib
from collections.abc import Callable, Iterator, Sequence

import pytest
from PIL import Image, ImageDraw

from lookless.chat.chatml import ChatML
from lookless.episode import Question
from lookless.images import SourceCache
from lookless.lookworld.base import new_base
from lookless.vlm import VLM, ImageFeatures
from lookless.vlm.qwen import QwenVLM
from served import Server, serving

MakeQuestion = Callable[..., Question]


@pytest.fixture(scope="session")
def vlm() -> VLM:
    """Return an untrained tiny model; tests must not change it."""
    return new_base(0)


@pytest.fixture
def own_vlm(vlm: VLM) -> VLM:
    """Return a copy of the untrained tiny model that a test may train."""
    return type(vlm)(copy.deepcopy(vlm.model), vlm.processor, vlm.chat)


@pytest.fixture(scope="session")
def chat(vlm: VLM) -> ChatML:
    return vlm.chat


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as played:
        yield played


@pytest.fixture
def sources() -> SourceCache:
    return SourceCache()


@pytest.fixture(scope="session")
def make_question(tmp_path_factory: pytest.TempPathFactory) -> MakeQuestion:
    """Return a maker of questions about drawn images; equal names give equal images."""
    folder = tmp_path_factory.mktemp("drawn")

    def make(
        name: str = "q",
        text: str = "What code is on the red sign?",
        answer: str = "K7",
        size: tuple[int, int] = (640, 640),
        needs_look: bool | None = None,
    ) -> Question:
        file = folder / f"{name}-{size[0]}x{size[1]}.png"
        if not file.exists():
            shade = zlib.crc32(name.encode())
            image = Image.new("RGB", size, (shade % 256, shade // 256 % 256, shade // 65536 % 256))
            draw = ImageDraw.Draw(image)
            draw.rectangle((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill="red")
            image.save(file)
        return Question(name, file, text, answer, needs_look=needs_look)

    return make


@pytest.fixture
def image_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many images went through the vision tower in each pass, as it grows."""
    batches: list[int] = []
    compute = QwenVLM.image_features

    def spy(self: QwenVLM, images: Sequence[Image.Image]) -> list[ImageFeatures]:
        batches.append(len(images))
        return compute(self, images)

    monkeypatch.setattr(QwenVLM, "image_features", spy)
    return batches
