"""Vision-language models that look closer only when it pays."""

__version__ = "0.1.0"
