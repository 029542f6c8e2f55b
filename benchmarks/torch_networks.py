"""The pieces of jaxvid's networks in PyTorch, for the benchmarks alone.

Each module is built from the Flax parameters of its twin in ``jaxvid.models``, whose names its
attributes bear: weights are carried over, outputs are equal (tests/test_torch_networks.py). Pixels
stand as (B,H,W,C) in memory, which PyTorch calls channels_last; letters as in ``jaxvid.typing``.
Import this only where ``harness.torch_or_none()`` is not None.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import harness
from jaxvid.models.text import BUCKETS, NGRAMS
from jaxvid.ops.layout import ALONG, BOTH, DOWN, FEATURES

Tree = Any  # Flax parameters: nested dicts of arrays
Batch = dict[str, Tensor]


# Parameters


def tensor(array: Any) -> Tensor:
    """The array as a tensor of its own, where PyTorch computes."""
    return torch.tensor(np.array(array), device=harness.torch_device())


def dense(p: Tree) -> nn.Linear:
    """flax.linen.Dense."""
    inputs, outputs = p["kernel"].shape
    layer = nn.Linear(inputs, outputs, bias="bias" in p, device="meta")
    layer.weight = nn.Parameter(tensor(p["kernel"]).T.contiguous())
    if "bias" in p:
        layer.bias = nn.Parameter(tensor(p["bias"]))
    return layer


def embedding(p: Tree) -> nn.Embedding:
    """flax.linen.Embed."""
    rows, features = p["embedding"].shape
    layer = nn.Embedding(rows, features, device="meta")
    layer.weight = nn.Parameter(tensor(p["embedding"]))
    return layer


class Conv(nn.Module):
    """flax.linen.Conv, 3x3, of (B,H,W,C)."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        weight = tensor(p["kernel"]).permute(3, 2, 0, 1)
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(tensor(p["bias"]))

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, padding=1)
        return y.permute(0, 2, 3, 1)


class TextConv(nn.Module):
    """flax.linen.Conv of width 5 and stride 2, of (B,L,D) with L even."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        self.weight = nn.Parameter(tensor(p["kernel"]).permute(2, 1, 0).contiguous())
        self.bias = nn.Parameter(tensor(p["bias"]))

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x.transpose(1, 2), (1, 2))
        return F.conv1d(padded, self.weight, self.bias, stride=2).transpose(1, 2)


def to_flax(module: nn.Module, tensors: dict[str, Tensor]) -> Tree:
    """Tensors named as the module's parameters, as a tree of arrays named and shaped as Flax's."""
    tree: Tree = {}
    for name, value in tensors.items():
        *path, leaf = name.split(".")
        owner = module.get_submodule(".".join(path))
        array, key = value.detach().cpu().numpy(), leaf
        if leaf == "weight":
            key = "embedding" if isinstance(owner, nn.Embedding) else "kernel"
            if key == "kernel":  # (out, in, places...) to (places..., in, out)
                array = array.transpose(*range(2, array.ndim), 1, 0)
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        at[key] = array
    return tree


# Functions


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def rms_norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6).to(x.dtype)


def patchify(x: Tensor, size: int) -> Tensor:
    """(..., H, W, C) to (..., H/size, W/size, size² C)."""
    *lead, H, W, C = x.shape
    x = x.reshape(*lead, H // size, size, W // size, size, C).transpose(-4, -3)
    return x.reshape(*lead, H // size, W // size, size * size * C)


def unpatchify(x: Tensor, size: int) -> Tensor:
    """The inverse of ``patchify``."""
    *lead, h, w, D = x.shape
    x = x.reshape(*lead, h, w, size, size, -1).transpose(-4, -3)
    return x.reshape(*lead, h * size, w * size, D // size**2)


def film(layer: nn.Linear, x: Tensor, by: Tensor) -> Tensor:
    """x (1 + scale) + shift, both read from ``by``."""
    scale, shift = layer(F.silu(by)).chunk(2, dim=-1)
    return x * (1.0 + scale) + shift


def sinusoids(x: Tensor, width: int) -> Tensor:
    waves = torch.logspace(math.log10(0.2), math.log10(64.0), width // 2, device=x.device)
    angles = x[..., None] * (2 * math.pi / waves)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def pixel_grid(height: int, width: int, octaves: int, device: Any) -> Tensor:
    """A constant and Fourier features of y and x of each pixel centre (H,W,F)."""

    def fourier(n: int) -> Tensor:
        x = (torch.arange(n, device=device) + 0.5) / n * 2 - 1
        angles = math.pi * x[:, None] * 2.0 ** torch.arange(octaves, device=device)
        return torch.cat([x[:, None], angles.sin(), angles.cos()], dim=-1)

    y = fourier(height)[:, None].expand(-1, width, -1)
    x = fourier(width)[None].expand(height, -1, -1)
    return torch.cat([torch.ones(height, width, 1, device=device), y, x], dim=-1)


def take_frames(x_BT: Tensor, index_Bt: Tensor) -> Tensor:
    """The frames (B,t,...) of (B,T,...)."""
    B, T = x_BT.shape[:2]
    rows = torch.arange(B, device=x_BT.device)[:, None] * T + index_Bt
    return x_BT.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, index_Bt.shape)


# Modules


class Attention(nn.Module):
    """models.blocks.Attention, by scaled_dot_product_attention.

    ``twice``: written out, since the fused kernel has no second derivative.
    """

    def __init__(self, p: Tree, heads: int, *, twice: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (dense(p[name]) for name in ("q", "k", "v", "out"))
        self.gain = nn.Parameter(tensor(p["gain"]))
        self.heads, self.twice = heads, twice

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(..., L, D); ``mask`` bool (B,1,1,S): which keys may be read."""
        memory = x if memory is None else memory
        q = self.q(x).reshape(-1, x.shape[-2], self.heads, x.shape[-1] // self.heads)
        k, v = (
            layer(memory).reshape(-1, memory.shape[-2], *q.shape[2:]) for layer in (self.k, self.v)
        )
        q, k, v = (t.transpose(1, 2) for t in (rms_norm(q) * self.gain.to(q.dtype), rms_norm(k), v))
        if self.twice:
            y = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
    """models.blocks.FeedForward."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        self.up, self.down = dense(p["up"]), dense(p["down"])

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class ResidualConv(nn.Module):
    """models.blocks.ResidualConv."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        self.reduce, self.conv, self.expand = (
            dense(p["reduce"]),
            Conv(p["conv"]),
            dense(p["expand"]),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(leaky(self.conv(leaky(self.reduce(x)))))


class TextEncoder(nn.Module):
    """models.text.TextEncoder."""

    def __init__(self, p: Tree, layers: int, heads: int) -> None:
        super().__init__()
        self.embed = embedding(p["embed"])
        for n in NGRAMS:
            setattr(self, f"ngram{n}", embedding(p[f"ngram{n}"]))
        self.conv0, self.conv1 = TextConv(p["conv0"]), TextConv(p["conv1"])
        self.words, self.summary = dense(p["words"]), dense(p["summary"])
        self.layers = layers
        if layers:
            self.place = nn.Parameter(tensor(p["place"]))
        for i in range(layers):
            setattr(self, f"attention{i}", Attention(p[f"attention{i}"], heads))
            setattr(self, f"feed{i}", FeedForward(p[f"feed{i}"]))

    def forward(self, text_BL: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.embed(text_BL)
        for n in NGRAMS:
            x = x + getattr(self, f"ngram{n}")(ngram_ids(text_BL, n))
        x = x * (text_BL > 0)[..., None]
        x = self.conv1(leaky(leaky(self.conv0(x))))
        mask_BL = (text_BL > 0).reshape(*x.shape[:2], -1).any(-1)
        wide = leaky(self.words(leaky(x)))
        found_BD = torch.where(mask_BL[..., None], wide, -1e3).amax(1)
        found_BD = torch.where(mask_BL.any(1, keepdim=True), found_BD, 0.0)
        if self.layers:
            x = x + self.place
        for i in range(self.layers):
            x = x + getattr(self, f"attention{i}")(rms_norm(x), mask=mask_BL[:, None, None])
            x = x + getattr(self, f"feed{i}")(rms_norm(x))
        return rms_norm(x) * mask_BL[..., None], mask_BL, self.summary(rms_norm(found_BD))


def ngram_ids(text_BL: Tensor, n: int) -> Tensor:
    """ops.ngrams.ngram_ids, in 64 bits of which 32 count."""
    low = 0xFFFFFFFF
    text = text_BL.long()
    hash_BL = torch.zeros_like(text)
    for back in reversed(range(n)):
        moved = F.pad(text, (back, 0))[:, : text.shape[1]]
        hash_BL = (hash_BL * 0x01000193 + moved) & low
    hash_BL = (hash_BL * 0x9E3779B1) & low
    return torch.where(text > 0, (hash_BL >> 7) % (BUCKETS - 1) + 1, 0)


class ClassEmbed(nn.Module):
    """models.conditions.ClassEmbed."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        self.table = embedding(p["table"])

    def forward(self, label_B: Tensor) -> Tensor:
        return self.table((label_B - 1).clamp(min=0)) * (label_B > 0)[:, None]


class SceneField(nn.Module):
    """models.conditions.SceneField."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        self.kind, self.color, self.size, self.background = (
            embedding(p[name]) for name in ("kind", "color", "size", "background")
        )
        self.shape, self.look, self.edge, self.gate, self.value, self.grid = (
            dense(p[name]) for name in ("shape", "look", "edge", "gate", "value", "grid")
        )

    def forward(self, batch: Batch, *, height: int, width: int) -> Tensor:
        names = ("kind", "color", "size")
        looks = [getattr(self, name)(batch["attributes"][..., i]) for i, name in enumerate(names)]
        entity_BNE = torch.cat(looks, dim=-1)
        B, N, _ = entity_BNE.shape
        T = batch["boxes"].shape[1]
        shape_BNFD = self.shape(entity_BNE).unflatten(-1, (FEATURES, -1))
        shown = batch["boxes"], batch["visible"]
        drawn, mask = draw_mapped(*shown, shape_BNFD, height=height, width=width)
        look_BND = self.look(entity_BNE)
        field = self._background(batch, height, width)[:, None].expand(-1, T, -1, -1, -1)
        for n in range(N):
            h = leaky(self.edge(leaky(drawn[n])))
            gate = self.gate(h).sigmoid() * mask[..., n, None]
            field = field + gate * (self.value(h) + look_BND[:, n, None, None, None] - field)
        return field

    def _background(self, batch: Batch, height: int, width: int) -> Tensor:
        tone_BE = self.background(batch["background"])
        grid_HWF = pixel_grid(height, width, 4, tone_BE.device)
        weights_BFD = self.grid(tone_BE).unflatten(-1, (grid_HWF.shape[-1], -1))
        weights_BFD = weights_BFD / grid_HWF.shape[-1] ** 0.5
        return torch.einsum("hwf,bfd->bhwd", grid_HWF, weights_BFD)


def draw_mapped(
    boxes: Tensor, visible: Tensor, kernel_BNFD: Tensor, *, height: int, width: int
) -> tuple[list[Tensor], Tensor]:
    """ops.layout.draw_parts, spread: of each actor (B,T,H,W,D), and the mask (B,T,H,W,N)."""
    cx, cy, w, h = boxes.unbind(-1)
    half_w, half_h = (w / 2).clamp(min=1e-3)[:, :, None], (h / 2).clamp(min=1e-3)[:, :, None]
    x_W1 = ((torch.arange(width, device=boxes.device) + 0.5) / width)[:, None]
    y_H1 = ((torch.arange(height, device=boxes.device) + 0.5) / height)[:, None]
    dx, dy = x_W1 - cx[:, :, None], y_H1 - cy[:, :, None]
    across = ((half_w - dx.abs()) * (4.0 * width)).sigmoid() * visible[:, :, None]
    down = ((half_h - dy.abs()) * (4.0 * height)).sigmoid()
    mask = down[:, :, :, None] * across[:, :, None]
    u_BTWN, v_BTHN = (dx / half_w).clamp(-1.2, 1.2), (dy / half_h).clamp(-1.2, 1.2)
    mapped = []
    for n in range(boxes.shape[2]):
        u, v, kernel_BFD = u_BTWN[..., n], v_BTHN[..., n], kernel_BNFD[:, n]
        both = _of_both(*torch.broadcast_tensors(u[:, :, None], v[..., None]))
        along, rows, places = (
            torch.einsum("bt...f,bfd->bt...d", torch.stack(terms, dim=-1), kernel_BFD[:, list(at)])
            for at, terms in ((ALONG, _of_one(u)), (DOWN, _of_one(v)), (BOTH, both))
        )
        rows = rows + kernel_BFD[:, 0][:, None, None]
        mapped.append(places + along[:, :, None] + rows[:, :, :, None])
    return mapped, mask.to(kernel_BNFD.dtype)


def _of_one(x: Tensor) -> list[Tensor]:
    angles = [math.pi * k * x for k in (1, 2)]
    return [x, x.abs(), x * x] + [f(angle) for angle in angles for f in (torch.sin, torch.cos)]


def _of_both(u: Tensor, v: Tensor) -> list[Tensor]:
    radius = (u * u + v * v + 1e-6).sqrt()
    a, d = u.abs(), v.abs()
    cos, cos2 = -v / radius, (v * v - u * u) / radius**2
    cos3 = cos * (2 * cos2 - 1)
    cos5 = 2 * cos2 * cos3 - cos
    ends = [torch.maximum(a, d), torch.minimum(a, d)]
    return [u * v, radius, *ends, cos3 * radius, cos5 * radius]
