"""TRL's GRPOTrainer on our model and our batches, to compare with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from scratch_policy import Said, ScratchPolicy
from torch import Tensor

from lookless.errors import ConfigError
from lookless.vlm import VLM


def grpo_trainer(vlm: VLM, count: int, folder: Path, **settings: Any) -> Any:
    """Return a trainer of a model for batches of `count` rollouts.

    Args:
        vlm: The model; it is not copied.
        count: Rollouts of a batch.
        folder: Where the trainer may write.
        settings: Of its GRPOConfig.

    Raises:
        ConfigError: If TRL is missing.
    """
    try:
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer
    except ImportError:
        raise ConfigError(
            "trl must be installed to be compared with, got no such package; "
            'pip install "lookless[bench]", or add --no-trl'
        ) from None
    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=vlm.device.type == "cpu",
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=count,
        num_generations=count,
        report_to=[],
        **settings,
    )
    return GRPOTrainer(
        model=vlm.model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["?"] * count}),
        processing_class=vlm.chat.tokenizer,
    )


class TrlPolicy(ScratchPolicy):
    """Calls what TRL's tool loop calls once a turn.

    What its loop does besides (parse turns, call tools, render their results by the chat template)
    is left to ours.
    """

    def __init__(
        self, vlm: VLM, temperature: float, max_tokens: int, seed: int, folder: Path
    ) -> None:
        """Sample turns of up to `max_tokens` from a model.

        Raises:
            ConfigError: If TRL is missing.
        """
        super().__init__(vlm)
        chat = vlm.chat
        self.trainer = grpo_trainer(
            vlm,
            2,
            folder,
            max_completion_length=max_tokens,
            temperature=temperature,
            generation_kwargs={
                "suppress_tokens": sorted(chat.banned_ids),
                "eos_token_id": chat.end_id,
                "pad_token_id": chat.end_id,
            },
        )
        self.trainer.eos_token_ids = [chat.end_id]
        torch.manual_seed(seed)

    def say(self, ids: list[list[int]], images: Mapping[str, Tensor], max_tokens: int) -> Said:
        """Return the turn that follows each row, up to its end token."""
        pad = self.chat.image_pad_id
        fields = {**images, "mm_token_type_ids": [[int(t == pad) for t in row] for row in ids]}
        new, _ = self.trainer._generate_single_turn(ids, None, fields, 1)
        return list(new)


class TrlUpdate:
    """TRL's loss and backward of rollouts, with the weights of our model."""

    def __init__(self, vlm: VLM, batch: Any, rows: int, folder: Path) -> None:
        """Prepare a trainer; images are preprocessed in `backward`, as ours are.

        Args:
            vlm: The model; its gradients are added to.
            batch: Of `bench/update.py`.
            rows: Rollouts that go through the model at once.
            folder: Where the trainer may write.

        Raises:
            ConfigError: If TRL is missing.
        """
        self.vlm, self.batch, self.rows = vlm, batch, rows
        self.trainer = grpo_trainer(
            vlm,
            len(batch.rollouts),
            folder,
            max_completion_length=max(len(r.token_ids) for r in batch.rollouts),
            loss_type="dapo",
            beta=0.0,
        )
        self.trainer.current_gradient_accumulation_steps = 1
        self.trainer.model.train()

    def backward(self) -> None:
        """Add the gradients of the batch to the model's."""
        for start in range(0, len(self.batch.rollouts), self.rows):
            inputs = self._inputs(slice(start, start + self.rows))
            self.trainer._compute_loss(self.trainer.model, inputs).backward()

    def _inputs(self, part: slice) -> dict[str, Any]:
        """Return some rollouts as TRL's generation leaves them, right-padded."""
        vlm, prefix = self.vlm, self.batch.prefix_tokens
        rollouts, sources = self.batch.rollouts[part], self.batch.sources[part]
        longest = max(len(r.token_ids) for r in rollouts)

        def padded(values: list[tuple[Any, ...]], fill: int) -> Tensor:
            return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in values])

        ids_BT = padded([r.token_ids for r in rollouts], vlm.chat.end_id)
        real_BT = padded([(1,) * len(r.token_ids) for r in rollouts], 0)
        sampled_BT = padded([tuple(map(int, r.is_sampled)) for r in rollouts], 0)
        pixels = [
            source.pixels(view)
            for r, source in zip(rollouts, sources, strict=True)
            for view in r.views
        ]
        images = vlm.processor(pixels, do_resize=False, return_tensors="pt")
        return {
            "prompt_ids": ids_BT[:, :prefix],
            "prompt_mask": real_BT[:, :prefix],
            "completion_ids": ids_BT[:, prefix:],
            "completion_mask": real_BT[:, prefix:],
            "tool_mask": sampled_BT[:, prefix:],
            "advantages": torch.tensor(self.batch.advantages[part]),
            "num_items_in_batch": torch.tensor(float(self.batch.total)),
            "pixel_values": images["pixel_values"],
            "image_grid_thw": images["image_grid_thw"],
            "num_images": [len(r.views) for r in rollouts],
            "mm_token_type_ids": (ids_BT == vlm.chat.image_pad_id).int(),
        }
