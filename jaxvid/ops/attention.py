"""Scaled dot-product attention, softmax(Q Kᵀ / √A) V (Vaswani et al., 2017, eq. 1).

One functional entry for every Transformer here. The softmax is float32 whatever the inputs are.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attention(
    q_BLKA: Float[Array, "*B L K A"],
    k_BSKA: Float[Array, "*B S K A"],
    v_BSKA: Float[Array, "*B S K A"],
    *,
    mask: Bool[Array, "*#B #K #L S"] | None = None,
) -> Float[Array, "*B L K A"]:
    """L queries read S keys with K heads of A features. ``mask`` is True where a key may be read.

    A query whose keys are all masked reads zeros.
    """
    scale = q_BLKA.shape[-1] ** -0.5
    logits = jnp.einsum(
        "...lka,...ska->...kls", q_BLKA * scale, k_BSKA, preferred_element_type=jnp.float32
    )
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1)
    if mask is not None:
        weights = jnp.where(mask, weights, 0.0)
    return jnp.einsum("...kls,...ska->...lka", weights.astype(v_BSKA.dtype), v_BSKA)
