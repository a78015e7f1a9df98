import pytest

from lookless.errors import CheckpointError
from lookless.vlm import VLM
from lookless.vlm.families import FAMILIES, family_of


def test_tiny_checkpoint_names_its_family(vlm: VLM) -> None:
    assert family_of(vlm.model.config.to_dict()) is FAMILIES["tiny"]


@pytest.mark.parametrize("config", [{}, {"model_type": "llama"}, {"lookless_family": "huge"}])
def test_unknown_family_is_refused_in_one_line(config: dict[str, str]) -> None:
    with pytest.raises(CheckpointError, match="model family must be") as caught:
        family_of(config)
    assert repr(next(iter(config.values()), None)) in str(caught.value)
    assert "\n" not in str(caught.value)
