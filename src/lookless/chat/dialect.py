"""What the rollout loop needs to know of how a model is talked to."""

from typing import Protocol

from lookless.episode import LookOutcome, Mode
from lookless.frames import Frame, View
from lookless.images import Budget


class Dialect(Protocol):
    """Prompts, observations and the model's turns as ids, and what its boxes mean."""

    @property
    def frame(self) -> Frame:
        """Return the frame that the model writes boxes in."""

    @property
    def budget(self) -> Budget:
        """Return how many pixels it is shown, of the overview and of crops alike."""

    @property
    def end_id(self) -> int:
        """Return the id that ends a turn."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""

    def prompt(self, view: View, question: str, mode: Mode) -> tuple[list[int], list[int]]:
        """Return a prompt in two parts: what all modes share but `TOOLFREE`, and the rest.

        System + image + question; the mode's instruction and the opening of the model's turn.
        """

    def observation(self, result: View | LookOutcome) -> list[int]:
        """Return what follows a turn that called the operation: a crop, or why there is none."""

    def decode(self, ids: list[int]) -> str:
        """Return ids as text, each image as one mark."""

    def visual_tokens(self, view: View) -> int:
        """Return how many tokens a view costs."""
