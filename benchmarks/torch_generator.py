"""The generator in PyTorch, from its Flax parameters: see ``torch_networks``.

Attention "factorised" alone. Frames are fetched along flows by ``grid_sample``; the flow between
known frames is computed in planes (B,C,H,W), which is what that function takes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_networks import (
    Attention,
    Batch,
    ClassEmbed,
    FeedForward,
    ResidualConv,
    SceneField,
    TextEncoder,
    Tree,
    dense,
    film,
    leaky,
    patchify,
    pixel_grid,
    rms_norm,
    sinusoids,
    take_frames,
    tensor,
    unpatchify,
)
from jaxvid.config import GeneratorConfig
from jaxvid.models.generator import OCTAVES
from jaxvid.models.generator import Fetch as FlaxFetch
from jaxvid.ops import flow as jax_flow


class Neighbours(NamedTuple):
    """ops.inbetween.Neighbours."""

    before: Tensor
    after: Tensor
    share: Tensor
    both: Tensor
    some: Tensor


class Layer(nn.Module):
    """models.generator.Layer."""

    def __init__(self, p: Tree, heads: int) -> None:
        super().__init__()
        self.frame, self.feed = dense(p["frame"]), FeedForward(p["feed"])
        self.space, self.time, self.text = (
            Attention(p[name], heads) for name in ("space", "time", "text")
        )

    def forward(self, x: Tensor, frame: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        B, T, P, D = x.shape
        x = film(self.frame, x, frame[:, :, None])
        x = x + self.space(rms_norm(x))
        x = x + self.time(rms_norm(x).transpose(1, 2)).transpose(1, 2)
        read = self.text(rms_norm(x).reshape(B, T * P, D), memory, memory_mask[:, None, None])
        x = x + read.reshape(x.shape)
        return x + self.feed(rms_norm(x))


class Decoder(nn.Module):
    """models.generator.Decoder: tokens (B T,h,w,D) to pixels (B T,H,W,F)."""

    def __init__(self, p: Tree, config: GeneratorConfig) -> None:
        super().__init__()
        self.stages, self.blocks = len(config.decoder), config.blocks
        for i in range(self.stages):
            setattr(self, f"up{i}", dense(p[f"up{i}"]))
            setattr(self, f"modulate{i}", dense(p[f"modulate{i}"]))
            for j in range(self.blocks):
                setattr(self, f"block{i}_{j}", ResidualConv(p[f"block{i}_{j}"]))
        self.scene = SceneField(p["scene"])
        self.pixels, self.join, self.draw = (dense(p[name]) for name in ("pixels", "join", "draw"))

    def forward(self, x: Tensor, frame: Tensor, pixels: Tensor, batch: Batch) -> Tensor:
        H, W = pixels.shape[2:4]
        for i in range(self.stages):
            x = film(
                getattr(self, f"modulate{i}"), unpatchify(getattr(self, f"up{i}")(x), 2), frame
            )
            if i == self.stages - 1:
                drawn = self.scene(batch, height=H, width=W) + self.pixels(pixels)
                x = x + self.draw(leaky(drawn.flatten(0, 1) + self.join(x)))
            for j in range(self.blocks):
                x = getattr(self, f"block{i}_{j}")(x)
        return leaky(x)


class Generator(Decoder):
    """models.generator.Generator, whose decoder's parameters stand beside the others."""

    def __init__(self, p: Tree, config: GeneratorConfig) -> None:
        super().__init__(p, config)
        assert config.attention == "factorised" and not config.motion
        self.config = config
        self.noise = nn.Parameter(tensor(p["noise"]))
        self.text = TextEncoder(p["text"], config.text_layers, config.heads)
        self.frame, self.summary, self.patches, self.place, self.rgb = (
            dense(p[name]) for name in ("frame", "summary", "patches", "place", "rgb")
        )
        self.scene_tokens, self.fetch = SceneField(p["scene_tokens"]), Fetch(p["fetch"])
        if config.latent:
            self.latent, self.field = dense(p["latent"]), FrameField(p["field"])
        for i in range(config.layers):
            setattr(self, f"layer{i}", Layer(p[f"layer{i}"], config.heads))
        if "class" in p:
            setattr(self, "class", ClassEmbed(p["class"]))

    def forward(  # type: ignore[override]
        self,
        noise: Tensor,
        known: Tensor,
        mask: Tensor,
        batch: Batch,
        latent: Tensor,
    ) -> Tensor:
        c = self.config
        B, T, H, W, _ = noise.shape
        known = torch.where(mask > 0, known, 0.0)
        whole_BT = mask.amin((2, 3, 4))
        with torch.autocast(known.device.type, enabled=False):  # float32, as in jaxvid
            near = meet(neighbours(known, whole_BT, batch["times"]))
        given = torch.where(mask > 0, known, self.noise * noise)
        pixels = torch.cat([given, mask, near.before, near.after], dim=-1)
        memory, memory_mask, text_BD = self.text(batch["text"])
        facts = [whole_BT, near.both, near.some, near.share, batch["times"]]
        frame = sinusoids(batch["times"], c.width) + self.frame(torch.stack(facts, dim=-1))
        frame = frame + self.summary(text_BD)[:, None]
        if hasattr(self, "class"):
            frame = frame + getattr(self, "class")(batch["label"])[:, None]
        h, w = H // c.patch, W // c.patch
        x = self.patches(patchify(pixels, c.patch))
        x = x + self.scene_tokens(batch, height=h, width=w)
        if c.latent:
            frame = frame + self.latent(latent)[:, None]
            x = x + self.field(frame, height=h, width=w)
        x = x + self.place(pixel_grid(h, w, OCTAVES, x.device))
        x = x.reshape(B, T, h * w, c.width)
        for i in range(c.layers):
            x = getattr(self, f"layer{i}")(x, frame, memory, memory_mask)
        x = rms_norm(x).reshape(B * T, h, w, c.width)
        x = super().forward(x, frame.reshape(B * T, 1, 1, c.width), pixels, batch)
        video = self.fetch(x, near, self.rgb(x).float().reshape(noise.shape))
        return torch.where(mask > 0, known, video)


class FrameField(nn.Module):
    """models.generator.FrameField."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        self.hidden, self.weights = dense(p["hidden"]), dense(p["weights"])

    def forward(self, frame: Tensor, *, height: int, width: int) -> Tensor:
        grid_HWF = pixel_grid(height, width, OCTAVES, frame.device)
        n = grid_HWF.shape[-1]
        weights = self.weights(F.silu(self.hidden(F.silu(frame)))).unflatten(-1, (n, -1))
        return torch.einsum("hwf,btfd->bthwd", grid_HWF, weights / n**0.5)


class Fetch(nn.Module):
    """models.generator.Fetch."""

    def __init__(self, p: Tree) -> None:
        super().__init__()
        self.flow = dense(p["flow"])

    def forward(self, x: Tensor, near: Neighbours, painted: Tensor) -> Tensor:
        shape = near.before.shape
        before, after = near.before.flatten(0, 1), near.after.flatten(0, 1)
        head = self.flow(x).float()
        share, both, some = (v.reshape(-1, 1, 1, 1) for v in near[2:])
        flow = (1.0 - both) * head[..., :4]
        before, after = warp_pixels(before, flow[..., :2]), warp_pixels(after, flow[..., 2:])
        share = (share + head[..., 4:5]).clamp(0.0, 1.0)
        fetched = (1.0 - share) * before + share * after
        one, two = FlaxFetch.paint
        cover = (head[..., 5:6] + torch.where(both > 0, two, one)).sigmoid()
        cover = torch.where(some > 0, cover, 1.0)
        return (fetched + cover * (painted.reshape(fetched.shape) - fetched)).reshape(shape)


# What is known


def neighbours(video: Tensor, known_BT: Tensor, times_BT: Tensor) -> Neighbours:
    """ops.inbetween.neighbours."""
    T = times_BT.shape[1]
    order = torch.arange(T, device=video.device)
    known = known_BT[:, None, :] > 0.5
    before_BT = torch.where(known & (order[None] <= order[:, None]), order, -1).amax(-1)
    after_BT = torch.where(known & (order[None] >= order[:, None]), order, T).amin(-1)
    has_before, has_after = before_BT >= 0, after_BT < T
    first = torch.where(has_before, before_BT, after_BT).clamp(0, T - 1)
    last = torch.where(has_after, after_BT, before_BT).clamp(0, T - 1)
    t0, t1 = times_BT.gather(1, first), times_BT.gather(1, last)
    share = torch.where(t1 > t0, (times_BT - t0) / (t1 - t0).clamp(min=1e-6), 0.0)
    some = (has_before | has_after).float()
    here = some[:, :, None, None, None]
    both = (has_before & has_after).float()
    first_frames, last_frames = take_frames(video, first), take_frames(video, last)
    return Neighbours(first_frames * here, last_frames * here, share, both, some)


@torch.no_grad()
def meet(near: Neighbours) -> Neighbours:
    """ops.inbetween.meet."""
    B, T, H, W, C = near.before.shape
    before, after = (x.flatten(0, 1).permute(0, 3, 1, 2).contiguous() for x in near[:2])
    first, second = 0.5 + 0.5 * torch.cat([before, after]), 0.5 + 0.5 * torch.cat([after, before])
    there, back = estimate(first, second).chunk(2)
    t = near.share.reshape(-1, 1, 1, 1)
    before = warp(before, t * t * back - (1 - t) * t * there)[0]
    after = warp(after, (1 - t) ** 2 * there - t * (1 - t) * back)[0]
    shape = near.before.shape
    before, after = (x.permute(0, 2, 3, 1).reshape(shape) for x in (before, after))
    return near._replace(before=before, after=after)


def warp(x_BCHW: Tensor, flow_B2HW: Tensor) -> tuple[Tensor, Tensor]:
    """ops.warp.warp in planes: ``x`` at each pixel's place plus its flow, and where that is inside
    of the frame (B,1,H,W).
    """
    H, W = x_BCHW.shape[2:]
    x = torch.arange(W, device=x_BCHW.device) + flow_B2HW[:, 0]
    y = torch.arange(H, device=x_BCHW.device)[:, None] + flow_B2HW[:, 1]
    inside = (x >= 0) & (x <= W - 1) & (y >= 0) & (y <= H - 1)
    grid = torch.stack([2 * x / max(W - 1, 1) - 1, 2 * y / max(H - 1, 1) - 1], dim=-1)
    seen = F.grid_sample(x_BCHW, grid, padding_mode="border", align_corners=True)
    return seen, inside[:, None]


def warp_pixels(x_BHWC: Tensor, flow_BHW2: Tensor) -> Tensor:
    """The same of (B,H,W,C), without the mask."""
    return warp(x_BHWC.permute(0, 3, 1, 2), flow_BHW2.permute(0, 3, 1, 2))[0].permute(0, 2, 3, 1)


def estimate(first: Tensor, second: Tensor) -> Tensor:
    """ops.flow.estimate in planes (B,C,H,W): the flow (B,2,H,W)."""
    sizes = [first.shape[2:]]
    while min(sizes[-1]) > jax_flow._COARSE:
        sizes.append(torch.Size((n + 1) // 2 for n in sizes[-1]))
    pyramid = [(_blur(first, jax_flow._BLUR), _blur(second, jax_flow._BLUR))]
    for size in sizes[1:]:
        pyramid.append((_resize(pyramid[-1][0], size), _resize(pyramid[-1][1], size)))
    flow = first.new_zeros(len(first), 2, *sizes[-1])
    for size, (a, b) in zip(sizes[::-1], pyramid[::-1], strict=True):
        (h, w), (H, W) = flow.shape[2:], size
        x, y = _resize(flow, size).unbind(1)
        flow = _refine(a, b, torch.stack([x * (W / w), y * (H / h)], dim=1))
    return _rest(*pyramid[0], flow)


def _refine(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    padded = F.pad(first, (1, 1, 1, 1), mode="replicate")
    dx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    dy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    squares = torch.stack([(p * q).sum(1) for p, q in ((dx, dx), (dx, dy), (dy, dy))], dim=1)
    xx, xy, yy = _blur(squares, jax_flow._SIGMA).unbind(1)
    xx, yy = xx + jax_flow._PRIOR, yy + jax_flow._PRIOR
    for _ in range(jax_flow._STEPS):
        seen, inside = warp(second, flow)
        lag = torch.where(inside, first - seen, 0.0) + dx * flow[:, :1] + dy * flow[:, 1:]
        pull = torch.stack([(dx * lag).sum(1), (dy * lag).sum(1)], dim=1)
        px, py = _blur(pull + jax_flow._PRIOR * flow, jax_flow._SIGMA).unbind(1)
        new = torch.stack([yy * px - xy * py, xx * py - xy * px], dim=1)
        new = new / (xx * yy - xy * xy)[:, None]
        flow = flow + (new - flow).clamp(-1, 1)
    return flow


def _rest(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    seen, inside = warp(second, flow)
    seen = torch.where(inside, seen, first)
    errors = torch.stack([((x - first) ** 2).sum(1) for x in (second, seen)], dim=1)
    still, moved = _blur(errors, 1.0).chunk(2, dim=1)
    return torch.where(moved + jax_flow._NOISE < still, flow, 0.0)


def _blur(x: Tensor, sigma: float) -> Tensor:
    rows, columns = (_window(n, sigma, x) for n in x.shape[2:])
    return rows @ (x @ columns.T)


def _window(pixels: int, sigma: float, like: Tensor) -> Tensor:
    places = torch.arange(pixels, device=like.device)
    offsets = (places[:, None] - places).float()
    near = offsets.abs() <= 3 * sigma
    weights = torch.where(near, torch.exp(-0.5 * (offsets / sigma) ** 2), 0.0)
    return weights / weights.sum(1, keepdim=True)


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", antialias=True, align_corners=False)
