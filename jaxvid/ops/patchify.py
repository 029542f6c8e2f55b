"""Space to depth and back: a reshape, so that a Dense after it is a strided convolution."""

from jaxtyping import Array, Float


def patchify(x_HWC: Float[Array, "*B H W C"], size: int) -> Float[Array, "*B h w D"]:
    """Cuts images into ``size`` x ``size`` patches: (H, W, C) -> (H/size, W/size, size² C)."""
    *lead, H, W, C = x_HWC.shape
    x = x_HWC.reshape(*lead, H // size, size, W // size, size, C)
    n = len(lead)
    x = x.transpose(*range(n), n, n + 2, n + 1, n + 3, n + 4)
    return x.reshape(*lead, H // size, W // size, size * size * C)


def unpatchify(x_hwD: Float[Array, "*B h w D"], size: int) -> Float[Array, "*B H W C"]:
    """The inverse of ``patchify``."""
    *lead, h, w, D = x_hwD.shape
    C = D // (size * size)
    x = x_hwD.reshape(*lead, h, w, size, size, C)
    n = len(lead)
    x = x.transpose(*range(n), n, n + 2, n + 1, n + 3, n + 4)
    return x.reshape(*lead, h * size, w * size, C)
