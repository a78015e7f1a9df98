"""`transformers serve` where torchvision cannot decode images: its wheel lacks the extension.

python tests/engines/serve_transformers.py FOLDER --port 8000 ...
"""

import io
import sys

import numpy as np
import torch
import torchvision.io
from PIL import Image
from transformers.cli.transformers import main


def decode_image(data: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    """Return what torchvision's own would: RGB, (3, height, width), 0 to 255."""
    image = Image.open(io.BytesIO(data.numpy().tobytes())).convert("RGB")
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


if __name__ == "__main__":
    torchvision.io.decode_image = decode_image
    sys.argv = ["transformers", "serve", *sys.argv[1:]]
    main()
