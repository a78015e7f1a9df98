"""`transformers serve` where torchvision cannot decode images: its wheel lacks the extension.

python tests/engines/serve_transformers.py FOLDER --port 8000 ...
"""

import io
import sys

import numpy as np
import torch
from PIL import Image


def decode_image(data: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    """Return what torchvision's own would: RGB, (3, height, width), 0 to 255."""
    image = Image.open(io.BytesIO(data.numpy().tobytes())).convert("RGB")
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def main() -> None:
    import torchvision.io

    torchvision.io.decode_image = decode_image
    from transformers.cli.transformers import main as serve

    sys.argv = ["transformers", "serve", *sys.argv[1:]]
    serve()


if __name__ == "__main__":
    main()
