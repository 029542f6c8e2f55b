"""Zero-centred gradient penalties |∇ₓ D(x)|², exact and by finite difference, per example.

R1 takes x real (Mescheder et al., 2018), R2 takes x generated. With several logits an example, D is
their mean.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def finite(
    logits_BK: Float[Array, "B K"], moved_BK: Float[Array, "B K"], *, epsilon: float
) -> Float[Array, "B"]:
    """((D(x + ε n) - D(x)) / ε)² with n ~ N(0, I): its mean over n is |∇D|² as ε goes to 0.

    Needs no second derivative, so it works with any kernel (Seaweed-APT, arXiv 2501.08316, eq. 4).
    """
    return ((moved_BK - logits_BK).mean(axis=1) / epsilon) ** 2


def exact(
    critic: Callable[[Array], Array], video_BTHWC: Float[Array, "B T H W C"]
) -> Float[Array, "B"]:
    """|∇ₓ D(x)|² by differentiating ``critic(video) -> (B,K)``: the oracle of ``finite``."""
    gradient = jax.grad(lambda x: critic(x).mean(axis=1).sum())(video_BTHWC)
    return jnp.sum(gradient.astype(jnp.float32) ** 2, axis=(1, 2, 3, 4))
