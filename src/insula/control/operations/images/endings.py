"""What operations on images have in common: no record changes, the result describes the image."""

from __future__ import annotations

import msgspec

from insula.control.operations.engine.table import Ending, Facts, Failure, Work
from insula.domain.image import Image

DEADLINE_S = 3 * 3600.0


def image_facts(image: Image) -> Facts:
    """The image as plain values."""
    return {"image": msgspec.to_builtins(image)}


def result(work: Work) -> Ending:
    """The image is the operation's result."""
    return Ending(result=work.facts["image"])


def unchanged(_work: Work, _failure: Failure) -> Ending:
    """Nothing to record."""
    return Ending()
