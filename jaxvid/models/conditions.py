"""The script as a field of features over the frame, for generator and critics alike."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid import script
from jaxvid.models.blocks import Dense, Weights
from jaxvid.ops.layout import FEATURES, draw_parts
from jaxvid.ops.paint import paint, plain
from jaxvid.ops.positions import pixel_grid
from jaxvid.typing import Batch

OCTAVES = 4
UNIT = nn.initializers.normal(1.0)
LECUN = nn.initializers.lecun_normal()


class ClassEmbed(nn.Module):
    """The class of a clip (B,) as features (B,features); all 0 where it is unknown."""

    features: int
    classes: int

    @nn.compact
    def __call__(self, label_B: jax.Array) -> jax.Array:
        table = nn.Embed(self.classes, self.features, embedding_init=UNIT, name="table")
        return table(jnp.maximum(label_B - 1, 0)) * (label_B > 0)[:, None]


class SceneField(nn.Module):
    """The script painted as features (B,T,H,W,features): the background, then the actors over it.

    Each actor, back to front, is blended over what lies behind: field += gate (value - field). The
    gate comes from a small network of the place in the actor's box, whose first layer is computed
    from the kind: a shape. The value comes from the actor's attributes: a look. Kind and colour so
    meet in a product, and unseen combinations of them need nothing new.
    """

    features: int
    implementation: str | None = None
    hidden: int = 24
    embed: int = 24

    @nn.compact
    def __call__(self, batch: Batch, *, height: int, width: int) -> jax.Array:
        names = ("kind", "color", "size")
        counts = (len(script.KINDS), len(script.COLORS), len(script.SIZES))
        entity_BNE = jnp.concatenate(
            [
                nn.Embed(count + 1, self.embed, embedding_init=UNIT, name=name)(
                    batch["attributes"][..., i]
                )
                for i, (name, count) in enumerate(zip(names, counts, strict=True))
            ],
            axis=-1,
        )
        B, N, _ = entity_BNE.shape
        shape_BNFD = Dense(FEATURES * self.hidden, name="shape")(entity_BNE)
        shape_BNFD = shape_BNFD.reshape(B, N, FEATURES, self.hidden)
        shown = batch["boxes"], batch["visible"]
        shapes, mask_NBTHW = draw_parts(*shown, shape_BNFD, height=height, width=width)
        mask_NBTHW = mask_NBTHW.astype(entity_BNE.dtype)  # places are computed in float32
        look_BNF = Dense(self.features, name="look")(entity_BNE)
        D, F = self.hidden, self.features
        we, be = Weights((D, D), LECUN, name="edge")()
        wg, bg = Weights((D, F), LECUN, name="gate")()
        (value,) = Weights((D, F), LECUN, name="value")(bias=False)
        ground = self._background(batch, height, width)
        apply = plain if self.implementation == "reference" else paint
        look_NBF = look_BNF.swapaxes(0, 1)
        return apply(shapes, mask_NBTHW, ground, (we, be), (wg, bg), value, look_NBF)

    def _background(self, batch: Batch, height: int, width: int) -> jax.Array:
        """(B,H,W,features), the same for all frames."""
        table = nn.Embed(
            len(script.BACKGROUNDS) + 1, self.embed, embedding_init=UNIT, name="background"
        )
        tone_BE = table(batch["background"])
        grid_HWF = pixel_grid(height, width, octaves=OCTAVES).astype(tone_BE.dtype)
        F = grid_HWF.shape[-1]
        weights_BFD = Dense(F * self.features, name="grid")(tone_BE)
        weights_BFD = weights_BFD.reshape(-1, F, self.features) / F**0.5
        return jnp.einsum("hwf,bfd->bhwd", grid_HWF, weights_BFD)
