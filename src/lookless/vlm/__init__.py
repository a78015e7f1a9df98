"""Vision-language models in process: their weights, and how each family's are run."""

from lookless.vlm.cache import FeatureCache
from lookless.vlm.families import load_vlm
from lookless.vlm.features import ImageFeatures, Segment
from lookless.vlm.vlm import VLM

__all__ = ["VLM", "FeatureCache", "ImageFeatures", "Segment", "load_vlm"]
