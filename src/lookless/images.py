import math
from dataclasses import dataclass
from collections import OrderedDict
from pathlib import Path
from PIL import Image
from lookless.frames import Box, Frame, View


def open_image(path):
    im = Image.open(path); im.load(); return im.convert("RGB")


@dataclass(frozen=True)
class PixelBudget:
    min_pixels: int
    max_pixels: int
    factor: int

    def resized(self, width, height):
        f = self.factor
        w, h = round(width / f) * f, round(height / f) * f
        if w * h > self.max_pixels:
            b = math.sqrt(width * height / self.max_pixels)
            w, h = max(f, math.floor(width / b / f) * f), max(f, math.floor(height / b / f) * f)
        elif w * h < self.min_pixels:
            b = math.sqrt(self.min_pixels / (width * height))
            w, h = math.ceil(width * b / f) * f, math.ceil(height * b / f) * f
        return w, h


class Source:
    def __init__(self, path, limits=None):
        self.path = path; self._im = None

    @property
    def key(self): return str(self.path)

    @property
    def size(self): return self._image().size

    def _image(self):
        if self._im is None: self._im = open_image(self.path)
        return self._im

    def full_view(self, budget):
        w, h = self.size
        return View(Box(0, 0, w, h, Frame.SOURCE), *budget.resized(w, h))

    def view(self, region, budget):
        w, h = self.size
        l, t = max(math.floor(region.left), 0), max(math.floor(region.top), 0)
        r, b = min(math.ceil(region.right), w), min(math.ceil(region.bottom), h)
        return View(Box(l, t, r, b, Frame.SOURCE), *budget.resized(r - l, b - t))

    def pixels(self, view):
        box = tuple(int(v) for v in view.region.coordinates)
        return self._image().crop(box).resize((view.width_px, view.height_px), Image.Resampling.BICUBIC)


class SourceCache:
    def __init__(self, max_bytes=0): self.d = OrderedDict()

    def get(self, path):
        s = self.d.get(path)
        if s is None: s = self.d[path] = Source(path)
        if len(self.d) > 100: self.d.popitem(last=False)[1]._im = None
        return s
