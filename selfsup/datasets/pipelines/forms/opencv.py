"""Whether OpenCV is there. Functions that use it import it themselves, so that nothing is loaded before a fast pipeline is built."""

from __future__ import annotations

import logging
from functools import cache


@cache
def has_opencv() -> bool:
    """Whether OpenCV can be imported; says once what that costs where it cannot.

    Its own threads are switched off: a loader has its workers, and threads started before they fork would not live in them.
    """
    try:
        import cv2
    except ImportError as error:
        logging.getLogger('selfsup').warning(
            'OpenCV cannot be imported (%s): colours, blur and ToTensor run in the reference implementation, several times slower. '
            'pip install opencv-python-headless',
            error,
        )
        return False
    cv2.setNumThreads(0)
    return True
