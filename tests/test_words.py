"""Laws of words: every byte is in one, they look the same anywhere, NumPy and JAX agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.data import tokenizer
from jaxvid.ops.words import BYTES, most_words, word_starts, words


def split(text: str, length: int = 96) -> list[str]:
    found = words(tokenizer.encode(text, length)[None])[0]
    return [(word[word > 0] - 1).astype(np.uint8).tobytes().decode() for word in found if word[0]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a red star, then  it", ["a ", "red ", "star, ", "then  ", "it"]),
        ("top-left. 红色的圆 and", ["top-", "left. ", "红", "色", "的", "圆 ", "and"]),
        (
            '"A 2x4" café déjà',
            ['"', "A ", '2x4" ', "caf", "é ", "d", "é", "j", "à"],
        ),  # signs begin a text alone
        ("counterclockwise", ["counterclock", "wise"]),
        ("一个red圆", ["一", "个", "red", "圆"]),
        ("🌟 naïve🌟", ["🌟 ", "na", "ï", "ve", "🌟"]),
        ("", []),
    ],
)
def test_words(text: str, wanted: list[str]) -> None:
    assert split(text) == wanted


def test_every_byte_is_in_one_word_and_a_word_looks_alike_anywhere() -> None:
    rng = np.random.default_rng(0)
    signs = list("ab9 ,-Zé红。🌟")
    for _ in range(200):
        text = "".join(rng.choice(signs, rng.integers(1, 12)))
        assert "".join(split(text)) == text
        assert split("so " + text)[1:] == split(text) or not text[0].isalnum()


def test_under_jit_they_are_the_same() -> None:
    ids = np.random.default_rng(1).integers(1, 257, (40, 64)).astype(np.int32)
    ids[np.arange(64) >= np.arange(40)[:, None] * 2] = 0  # of every length
    for function in (words, word_starts):
        np.testing.assert_array_equal(jax.jit(function)(jnp.asarray(ids)), function(ids))


def test_there_is_room_for_chinese_and_what_has_too_many_words_is_cut() -> None:
    assert len(split("圆" * 85, 256)) == 85 <= most_words(256) == 96
    letters = words(tokenizer.encode("a " * 128, 256)[None])
    assert letters.shape == (1, 96, BYTES) and letters[0, -1, 0] == ord("a") + 1
    assert word_starts(tokenizer.encode("a " * 128, 256)[None]).sum() == 128
