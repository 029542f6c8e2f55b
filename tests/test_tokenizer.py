"""Laws of the tokenizer: reversible, cut between characters, strict about prompts."""

import numpy as np
import pytest

from jaxvid.data import tokenizer
from jaxvid.typing import UserError

TEXTS = ["a red circle", "红色的圆形向右移动", "שלום עולם", "🎬👩‍🚀", "e\u0301", "", "a\0b"]


@pytest.mark.parametrize("text", TEXTS)
def test_decode_inverts_encode(text):
    ids_L = tokenizer.encode(text, 64)
    assert ids_L.shape == (64,) and ids_L.dtype == np.int32
    assert ids_L.min() >= 0 and ids_L.max() < tokenizer.VOCABULARY
    assert tokenizer.decode(ids_L) == tokenizer.normalise(text)


def test_bytes_are_shifted_by_one_and_padded_with_zero():
    np.testing.assert_array_equal(tokenizer.encode("Aa", 4), [66, 98, 0, 0])


@pytest.mark.parametrize("length", range(1, 13))
def test_a_long_text_is_cut_between_characters(length):
    text = "圆🎬aé"
    kept = tokenizer.decode(tokenizer.encode(text, length))
    assert text.startswith(kept) and "\ufffd" not in kept
    whole = [n for n in range(len(text) + 1) if len(text[:n].encode()) <= length]
    assert len(kept) == whole[-1]


def test_an_accent_is_the_same_however_it_was_typed():
    np.testing.assert_array_equal(tokenizer.encode("é", 4), tokenizer.encode("e\u0301", 4))


def test_a_lone_surrogate_is_no_crash():
    assert tokenizer.decode(tokenizer.encode("a\ud800b", 8)) == "a?b"


@pytest.mark.parametrize("text", ["", "  \n\t", "\u200b", "\u3000"])
def test_an_empty_prompt_is_refused(text):
    with pytest.raises(UserError, match="empty; say what"):
        tokenizer.check_prompt(text, 128)


def test_a_prompt_over_the_limit_names_limit_and_count():
    assert tokenizer.check_prompt(" " + "圆" * 42 + "\n", 128) == "圆" * 42
    with pytest.raises(UserError, match=r"129 bytes \(UTF-8\) and 128"):
        tokenizer.check_prompt("圆" * 43, 128)
    with pytest.raises(UserError) as caught:
        tokenizer.check_prompt("x" * 100_000, 128)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)
