"""OptimConfig -> optax chain. Schedules read the step inside, so nothing recompiles."""

import optax

from jaxvid.config import OptimConfig


def schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Linear warm-up to ``lr``, then a cosine down to ``final * lr`` at ``steps``."""
    warmup = min(config.warmup, max(1, steps // 2))
    return optax.warmup_cosine_decay_schedule(
        init_value=config.lr / (warmup + 1),
        peak_value=config.lr,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=config.lr * config.final,
    )


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015) behind a clip by global norm."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adam(schedule(config, steps), b1=config.b1, b2=config.b2),
    )
