"""The critics and the posterior in PyTorch, from their Flax parameters: ``torch_networks``."""

import torch
from torch import Tensor, nn

from benchmarks.torch_networks import (
    Attention,
    Batch,
    ClassEmbed,
    Conv,
    FeedForward,
    ResidualConv,
    SceneField,
    TextEncoder,
    Tree,
    dense,
    leaky,
    patchify,
    rms_norm,
    sinusoids,
    take_frames,
)
from jaxvid.config import CriticConfig
from jaxvid.models.discriminator import PLACES


def _projected(score: nn.Linear, caption: nn.Linear, h: Tensor, said_BD: Tensor) -> Tensor:
    """models.discriminator._projected."""
    product = (h * caption(said_BD)[:, None]).sum(-1) / h.shape[-1] ** 0.5
    return score(h)[..., 0] + product


class FrameCritic(nn.Module):
    """models.discriminator.FrameCritic."""

    def __init__(self, p: Tree, config: CriticConfig) -> None:
        super().__init__()
        self.stages = len(config.frame_widths)
        self.pixels, self.scene = dense(p["pixels"]), SceneField(p["scene"])
        for i in range(self.stages):
            if i:
                setattr(self, f"down{i}", dense(p[f"down{i}"]))
            setattr(self, f"conv{i}", Conv(p[f"conv{i}"]))
            setattr(self, f"block{i}", ResidualConv(p[f"block{i}"]))
        self.flat = dense(p["flat"])
        self.frame_caption, self.frame_score = dense(p["frame_caption"]), dense(p["frame_score"])

    def forward(self, frames: Tensor, batch: Batch, said_BD: Tensor) -> Tensor:
        B, T, H, W, _ = frames.shape
        x = self.pixels(patchify(frames, 2)) + self.scene(batch, height=H // 2, width=W // 2)
        x = x.flatten(0, 1)
        for i in range(self.stages):
            if i:
                x = getattr(self, f"down{i}")(patchify(x, 2))
            x = getattr(self, f"conv{i}")(leaky(x))
            x = getattr(self, f"block{i}")(x)
        x = leaky(self.flat(leaky(x).reshape(B, T, -1)))
        return _projected(self.frame_score, self.frame_caption, x, said_BD)


class ClipEyes(nn.Module):
    """models.discriminator.ClipEyes; ``twice``: differentiable twice."""

    def __init__(
        self, p: Tree, config: CriticConfig, *, scripted: bool = True, twice: bool = False
    ) -> None:
        super().__init__()
        self.pixels, self.conv, self.patches = (
            dense(p["pixels"]),
            Conv(p["conv"]),
            dense(p["patches"]),
        )
        self.scene = SceneField(p["scene"]) if scripted else None
        self.neighbours, self.frame, self.time = (
            dense(p[name]) for name in ("neighbours", "frame", "time")
        )
        self.halvings = sum(name.startswith("down") for name in p)
        for i in range(self.halvings):
            setattr(self, f"down{i}", dense(p[f"down{i}"]))
        self.layers = config.clip_layers
        for i in range(self.layers):
            attention = Attention(p[f"attention{i}"], config.heads, twice=twice)
            setattr(self, f"attention{i}", attention)
            setattr(self, f"feed{i}", FeedForward(p[f"feed{i}"]))

    def forward(self, video: Tensor, batch: Batch) -> Tensor:
        B, T, H, W, C = video.shape
        half = video.reshape(B, T, H // 2, 2, W // 2, 2, C).mean((-4, -2))
        x = self.pixels(patchify(half, 2))
        if self.scene is not None:
            x = x + self.scene(batch, height=H // 4, width=W // 4)
        x = self.conv(leaky(x).flatten(0, 1)).unflatten(0, (B, T))
        x = self.patches(patchify(leaky(x), 2))
        before, after = torch.cat([x[:, :1], x[:, :-1]], 1), torch.cat([x[:, 1:], x[:, -1:]], 1)
        x = x + self.neighbours(leaky(torch.cat([before, x, after], -1)))
        for i in range(self.halvings):
            x = getattr(self, f"down{i}")(patchify(leaky(x), 2))
        assert min(x.shape[2:4]) <= PLACES or x.shape[2] % 2 or x.shape[3] % 2
        x = self.frame(leaky(x.reshape(B, T, -1)))
        x = x + self.time(sinusoids(batch["times"], x.shape[-1]))
        for i in range(self.layers):
            x = x + getattr(self, f"attention{i}")(rms_norm(x))
            x = x + getattr(self, f"feed{i}")(rms_norm(x))
        return rms_norm(x)


class Critics(nn.Module):
    """models.discriminator.Critics: ``(video, picked frames, batch) -> logits (B, n + T)``."""

    def __init__(self, p: Tree, config: CriticConfig, *, twice: bool = False) -> None:
        super().__init__()
        self.text = TextEncoder(p["text"], 0, config.heads)
        self.frame = FrameCritic(p["frame"], config)
        self.clip = ClipEyes(p["clip"], config, twice=twice)
        self.clip_caption, self.clip_score = dense(p["clip_caption"]), dense(p["clip_score"])
        if "class" in p:
            setattr(self, "class", ClassEmbed(p["class"]))

    def forward(self, video: Tensor, picked_Bn: Tensor, batch: Batch) -> Tensor:
        said_BD = self.text(batch["text"])[2]
        if hasattr(self, "class"):
            said_BD = said_BD + getattr(self, "class")(batch["label"])
        said_BD = said_BD.repeat_interleave(len(video) // len(said_BD), 0)
        still = {name: take_frames(batch[name], picked_Bn) for name in ("boxes", "visible")}
        frames = take_frames(video, picked_Bn)
        frame_logits = self.frame(frames, {**batch, **still}, said_BD)
        seen = self.clip(video, batch)
        clip_logits = _projected(self.clip_score, self.clip_caption, seen, said_BD)
        return torch.cat([frame_logits, clip_logits], dim=1).float()


class Posterior(nn.Module):
    """models.discriminator.Posterior, without motion: mean and log standard deviation of the
    clip's latent.
    """

    def __init__(self, p: Tree, config: CriticConfig) -> None:
        super().__init__()
        self.clip, self.mix = ClipEyes(p["clip"], config, scripted=False), dense(p["mix"])
        self.latent = dense(p["latent"])

    def forward(self, video: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        h = self.latent(leaky(self.mix(self.clip(video, batch).mean(1))))
        mean, log_std = h.float().chunk(2, dim=-1)
        return mean, (log_std - 2.0).clamp(-6.0, 2.0)
