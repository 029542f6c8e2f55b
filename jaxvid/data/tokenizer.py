"""Text as numbers: UTF-8 bytes, so that every language works and no vocabulary has to be shipped.

A byte b becomes b + 1; 0 is padding. Letters: L bytes of text.
"""

import unicodedata

import numpy as np
from jaxtyping import Int

from jaxvid.typing import UserError

VOCABULARY = 257  # padding and 256 bytes


def normalise(text: str) -> str:
    """Composed Unicode (NFC), so that an accent is the same bytes however it was typed."""
    return unicodedata.normalize("NFC", text)


def encode(text: str, length: int) -> Int[np.ndarray, "L"]:
    """Token ids, (length,) int32: zero padded, or cut between characters where too long."""
    data = normalise(text).encode("utf-8", errors="replace")  # lone surrogates become "?"
    if len(data) > length:
        data = data[:length].decode("utf-8", errors="ignore").encode("utf-8")
    ids_L = np.zeros(length, np.int32)
    ids_L[: len(data)] = np.frombuffer(data, np.uint8).astype(np.int32) + 1
    return ids_L


def decode(ids_L: Int[np.ndarray, "L"]) -> str:
    """The text of token ids without padding; what is not UTF-8 becomes U+FFFD."""
    ids = np.asarray(ids_L)
    return (ids[ids > 0] - 1).astype(np.uint8).tobytes().decode("utf-8", errors="replace")


def check_prompt(text: str, length: int) -> str:
    """The prompt as it is read, lone surrogates as "?".

    Raises UserError where it is empty or over ``length`` bytes.
    """
    text = normalise(text).strip().encode("utf-8", errors="replace").decode("utf-8")
    if all(unicodedata.category(character)[0] in "ZC" for character in text):
        raise UserError("the prompt is empty; say what to show, as in 'a red circle moves right'")
    size = len(text.encode("utf-8"))
    if size > length:
        raise UserError(f"the prompt has {size} bytes (UTF-8) and {length} are read; shorten it")
    return text
