"""The legend of dimension letters, and the contracts that the rooms share.

Letters, used as suffixes of names (``video_BTHWC``) and in jaxtyping annotations:

    B  examples in a batch          T  frames                H, W  pixels (rows, columns)
    C  channels                     N  actors on screen      L     bytes of text
    S  script tokens                V  script vocabulary     D     features of a token
    K  heads or keys                P  patches of a frame    A     features of an attention head

A **Batch** is a flat dict of arrays with a leading B, the same keys whatever the source:

    index       (B,)          int32    address of the example in its source; noise is drawn from it
    video       (B,T,H,W,3)   uint8    sRGB
    times       (B,T)         float32  seconds from the first frame
    text        (B,L)         int32    caption, UTF-8 bytes shifted by 1, zero padded
    boxes       (B,T,N,4)     float32  centre x, centre y, width, height of actors; 1: the frame
    visible     (B,T,N)       float32  1 where the actor is on screen; all 0 without a script
    attributes  (B,N,3)       int32    kind, colour, size: 1 + place in script.KINDS...; 0 unknown
    background  (B,)          int32    1 + position in jaxvid.script.BACKGROUNDS; 0 unknown
    label       (B,)          int32    1 + class of the clip; 0 unknown
    tokens      (B,S)         int32    the outline under the grammar, zero padded (planner only)
    spans       (B,S,L/4+I)   bool     which fours of bytes, which places of the image state a token
                                       (planner only)
    image       (B,64,64,3)   uint8    a picture beside the text, zero: none (planner only)

Actors are ordered back to front: actor N-1 is drawn over all others.
"""

import errno
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

Array = jax.Array
Batch = Mapping[str, Any]
HostBatch = dict[str, np.ndarray]
Params = Any
Metrics = dict[str, jax.Array]
Reduce = Callable[[Any], Any]
Step = Callable[[Any, Batch, jax.Array], tuple[Any, Metrics]]  # (state, batch, key), pure


class UserError(Exception):
    """Bad input. The message is one line that names the fix; commands print it and exit with
    ``code``: 2, or one of sysexits.h where a program that starts others may want to know.
    """

    def __init__(self, text: str = "", *, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


FULL = (errno.ENOSPC, errno.EDQUOT)
# Faults of a file system that is shared over a network, which the same command may not meet again.
PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EHOSTDOWN)


def exit_code(error: BaseException) -> int:
    """Of a fault of the machine: 74 for a full disk, 1 for what may pass by itself, else 2."""
    number = getattr(error, "errno", None)
    return 74 if number in FULL else 1 if number in PASSING else 2
