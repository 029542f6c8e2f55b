"""Adversarial losses on logits, one value an example, larger logit = judged more real.

Real and generated clips are paired: example i of both shares its condition, noise address and
augmentation. K logits an example (frames, critics) are averaged inside the example.
"""

from collections.abc import Callable
from typing import Literal

import jax
from jaxtyping import Array, Float

Kind = Literal["relativistic", "nonsaturating", "minimax", "hinge"]
Logits = Float[Array, "B K"]
PerExample = Float[Array, "B"]
_softplus = jax.nn.softplus


def critic_loss(kind: Kind, real_BK: Logits, fake_BK: Logits) -> PerExample:
    """What the critics minimise.

    relativistic   softplus(D(y) - D(x))                        (RpGAN; R3GAN, arXiv 2501.05441)
    nonsaturating  softplus(-D(x)) + softplus(D(y))             (Goodfellow et al., 2014)
    minimax        the same: -log s(D(x)) - log(1 - s(D(y)))    (Goodfellow et al., 2014, eq. 1)
    hinge          relu(1 - D(x)) + relu(1 + D(y))              (Lim and Ye, 2017)
    """
    losses: dict[Kind, Callable[[], Array]] = {
        "relativistic": lambda: _softplus(fake_BK - real_BK),
        "nonsaturating": lambda: _softplus(-real_BK) + _softplus(fake_BK),
        "minimax": lambda: _softplus(-real_BK) + _softplus(fake_BK),
        "hinge": lambda: jax.nn.relu(1 - real_BK) + jax.nn.relu(1 + fake_BK),
    }
    return losses[kind]().mean(axis=1)


def generator_loss(kind: Kind, real_BK: Logits, fake_BK: Logits) -> PerExample:
    """What the generator minimises; its gradient goes through ``fake`` alone.

    relativistic   softplus(D(x) - D(y))
    nonsaturating  softplus(-D(y)) = -log s(D(y))
    minimax        log(1 - s(D(y))) = -softplus(D(y))           (saturates early, as the paper says)
    hinge          -D(y)
    """
    real_BK = jax.lax.stop_gradient(real_BK)
    losses: dict[Kind, Callable[[], Array]] = {
        "relativistic": lambda: _softplus(real_BK - fake_BK),
        "nonsaturating": lambda: _softplus(-fake_BK),
        "minimax": lambda: -_softplus(fake_BK),
        "hinge": lambda: -fake_BK,
    }
    return losses[kind]().mean(axis=1)


def centring(real_BK: Logits, fake_BK: Logits) -> PerExample:
    """(D(x) + D(y))², which stops the drift that a relativistic loss cannot see (AFM, eq. 7)."""
    return ((real_BK + fake_BK) ** 2).mean(axis=1)
