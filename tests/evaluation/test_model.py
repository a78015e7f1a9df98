from pathlib import Path

import pytest

from lookless.errors import CheckpointError, ConfigError
from lookless.evaluation.model import LARGE_LIMITS, TINY_LIMITS, fingerprint, open_model
from lookless.evaluation.model import Server as Settings
from lookless.frames import Frame
from lookless.lookworld.base import base_folder
from lookless.policies.hf import HfPolicy
from lookless.policies.openai import OpenAIPolicy
from lookless.training.rl_config import RlConfig
from served import Server, said


def test_a_checkpoint_is_asked_as_it_was_trained() -> None:
    model = open_model(str(base_folder()), temperature=0.5)
    policy, other = model.policy(3), model.policy(4)
    assert isinstance(policy, HfPolicy)
    assert isinstance(other, HfPolicy)
    assert policy.temperature == 0.5
    assert (policy.seed, other.seed) == (3, 4)
    assert policy.features is other.features
    assert model.limits == TINY_LIMITS == RlConfig().limits
    assert model.identity == fingerprint(base_folder())


def test_a_server_is_asked_with_one_connection_and_a_seed_each(server: Server) -> None:
    server.play = lambda body: said("K7")
    model = open_model(server.url, 0.0, Settings(frame=Frame.RESIZED, concurrency=3))
    first, second = model.policy(1), model.policy(2)
    assert isinstance(first, OpenAIPolicy)
    assert isinstance(second, OpenAIPolicy)
    assert (first.seed, second.seed, first.model) == (1, 2, "m")
    assert model.chat.frame is Frame.RESIZED
    assert (model.limits, model.batch, model.concurrency) == (LARGE_LIMITS, 24, 3)
    assert not model.is_batched


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("scripted:", "script must be one of gold, chance, got ''"),
        ("nowhere", r"model must be a checkpoint folder .*OWNER/NAME on the hub, http\(s\)"),
        ("ftp://host/v1", "model must be a checkpoint folder"),
        ("http://", r"base_url must be like http://host:8000/v1"),
    ],
)
def test_what_is_no_model_is_said(spec: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_model(spec, 0.0)


def test_a_folder_that_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"folder with config.json"):
        open_model(str(tmp_path), 0.0)


def test_fingerprint_changes_with_a_file_and_not_with_where_it_lies(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(bytes(3_000_000))
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    changed = bytearray(3_000_000)
    changed[-1] = 1
    (tmp_path / "b" / "model.safetensors").write_bytes(changed)
    (tmp_path / "c" / "config.json").write_text("{}")
    assert len({fingerprint(tmp_path / name) for name in ("a", "b", "c")}) == 3
