"""What a user can do wrong.

Three kinds of trouble are kept apart. A user's mistake is a `LooklessError`: the command line
prints its one line and exits with code 2. A model's bad output is data: an observation or a
`StopReason`, never an exception. A fault of the infrastructure is recorded on the rollout
(`StopReason.FAULT`) and kept out of means and losses. Every message says what was got, what was
expected, and what to do.
"""


class LooklessError(Exception):
    """Something that the user can put right; the message is one line."""


class ConfigError(LooklessError, ValueError):
    """A setting is unknown, out of range, or contradicts another one."""


class ImageError(LooklessError, ValueError):
    """An image cannot be opened safely."""


class DataError(LooklessError, ValueError):
    """A file of questions or records is not what its format says."""


class RunError(LooklessError):
    """A run folder would be overwritten, or cannot be resumed."""


class PolicyError(LooklessError):
    """A policy failed on everything that it was asked."""


class CheckpointError(LooklessError):
    """A checkpoint folder is missing, incomplete, or of an unknown model family."""
