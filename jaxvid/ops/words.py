"""The words of a text, found in its UTF-8 bytes; of NumPy and of JAX arrays alike.

A word is a run of letters and digits with what follows it up to the next one (spaces, signs), or
one character of several bytes, as Chinese ones are (the spacelike boundaries of SpaceByte: Slagle,
2024, arXiv:2404.14408), so that a word looks the same wherever it stands.

Letters: L bytes of text (ids: a byte plus 1; 0 is padding, which follows), M words, C bytes of one.
"""

from typing import Any

BYTES = 12  # of a word at most; what is longer is cut into several


def most_words(length: int) -> int:
    """M: those of ``length`` bytes that are read. All of Chinese, of which one has three bytes."""
    return 3 * length // 8


def word_starts(ids_BL: Any) -> Any:
    """Which bytes begin a word, bool (B,L)."""
    xp = ids_BL.__array_namespace__()
    byte_BL, at_L = ids_BL - 1, xp.arange(ids_BL.shape[1])
    lower_BL = byte_BL | 32
    letter_BL = (lower_BL >= ord("a")) & (lower_BL <= ord("z"))
    letter_BL = letter_BL | ((byte_BL >= ord("0")) & (byte_BL <= ord("9")))
    after_BL = xp.pad(letter_BL, ((0, 0), (1, 0)))[:, :-1]
    begins_BL = (letter_BL & ~after_BL) | (byte_BL >= 0xC2) | ((at_L == 0) & (ids_BL > 0))
    word_BL = xp.maximum(xp.cumsum(begins_BL, axis=1) - 1, 0)
    into_BL = at_L - xp.take_along_axis(_in_order(begins_BL), word_BL, axis=1)
    return begins_BL | ((into_BL % BYTES == 0) & (ids_BL > 0))


def words(ids_BL: Any) -> Any:
    """The ids of each word's bytes (B,M,C), M = ``most_words(L)``, zero behind its end."""
    xp = ids_BL.__array_namespace__()
    B, L = ids_BL.shape
    starts_BL = xp.pad(_in_order(word_starts(ids_BL)), ((0, 0), (0, 1)), constant_values=L)
    M = most_words(L)
    at_BMC = starts_BL[:, :M, None] + xp.arange(BYTES)
    ids_BN = xp.take_along_axis(ids_BL, xp.minimum(at_BMC, L - 1).reshape(B, -1), axis=1)
    return ids_BN.reshape(at_BMC.shape) * (at_BMC < starts_BL[:, 1 : M + 1, None])


def _in_order(begins_BL: Any) -> Any:
    """Where words begin, the first first, then L."""
    xp, L = begins_BL.__array_namespace__(), begins_BL.shape[1]
    return xp.sort(xp.where(begins_BL, xp.arange(L), L), axis=1)
