"""Hashes of byte n-grams: words as table rows, without a vocabulary, in any language."""

import jax.numpy as jnp
from jaxtyping import Array, Int

_FACTOR, _MIX = 0x01000193, 0x9E3779B1  # FNV's prime; 2³² over the golden ratio


def ngram_ids(text_BL: Int[Array, "B L"], *, n: int, buckets: int) -> Int[Array, "B L"]:
    """For each byte the bucket, 1 to ``buckets`` - 1, of the n bytes that end with it; 0: padding.

    A rolling polynomial hash, as in the byte latent transformer (Pagnoni et al., 2024, eq. 3-4).
    Two n-grams share a bucket with probability about 1 / ``buckets``.
    """
    bytes_BL = text_BL.astype(jnp.uint32)
    hash_BL = jnp.zeros_like(bytes_BL)
    for back in reversed(range(n)):
        moved = jnp.pad(bytes_BL, ((0, 0), (back, 0)))[:, : text_BL.shape[1]]
        hash_BL = hash_BL * jnp.uint32(_FACTOR) + moved
    hash_BL = hash_BL * jnp.uint32(_MIX)
    hash_BL = (hash_BL >> 7) % jnp.uint32(buckets - 1) + 1
    return jnp.where(text_BL > 0, hash_BL, 0).astype(jnp.int32)
