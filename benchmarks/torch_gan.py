"""steps.gan in PyTorch: the same draws, losses, penalties, updates and averages, for the benchmark.

What differs, all in PyTorch's favour: an update whose gradient is not finite is left out before it
is made, where jaxvid keeps the old state beside the new (on a GPU it is not looked for: the host
would wait); signals of the game's health are not measured; masks of tasks that were not drawn are
not made; nothing is computed again to save memory. bfloat16 by autocast, parameters, losses and
updates float32. Relativistic losses alone; no parts of a batch (``compute.accumulate``) and no
``loss.transport``.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_critics import Critics, Posterior
from benchmarks.torch_generator import Generator
from benchmarks.torch_networks import Batch, Tree, take_frames
from benchmarks.torch_optim import Average, make_optimizer, numbers
from jaxvid import script
from jaxvid.config import GanRun, TaskConfig

Draw = dict[str, Any]


class Player(nn.Module):
    """The generator and, where there is one, the posterior: steps.gan._play."""

    def __init__(self, run: GanRun, params: Tree) -> None:
        super().__init__()
        self.run = run
        self.generator = Generator(params, run.generator)
        self.posterior = None
        if "posterior" in params:
            self.posterior = Posterior(params["posterior"], run.critic)

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        with _lowered(self.run, draw["real"]):
            return self._play(draw)

    def _play(self, draw: Draw) -> dict[str, Tensor]:
        real, batch, z = (draw[name] for name in ("real", "batch", "latent"))
        played = {}
        if self.posterior is not None:
            mean, log_std = self.posterior(real, batch)
            z = torch.where(draw["read"][:, None] > 0, mean + log_std.exp() * z, z)
            played = {"kl": _divergence(mean, log_std)}
        fake = self.generator(draw["noise"], real, draw["mask"], batch, z)
        return {**played, "fake": fake}


class GanStep:
    """``step(batch)`` draws and plays a whole step; ``step.play(draw)`` one that is drawn.

    ``compiled``: networks with their losses, and the optimizer, through torch.compile.
    """

    def __init__(
        self, run: GanRun, params: Tree, critic_params: Tree, *, compiled: bool = False
    ) -> None:
        loss = run.loss
        assert loss.adversarial == "relativistic" and not loss.transport
        assert run.compute.accumulate == 1
        self.run, self.count = run, 0
        self.player = Player(run, params)
        twice = loss.penalty in ("exact", "r1")
        self.critics = Critics(critic_params, run.critic, twice=twice)
        steps = run.train.steps
        self.rule = make_optimizer(self.player, run.optim, steps, compiled=compiled)
        self.critic_rule = make_optimizer(self.critics, run.critic_optim, steps, compiled=compiled)
        self.average = Average(self.player, loss.ema)
        self._play: Any = self.player
        self._critic_loss: Any = self.critic_loss
        self._generator_loss: Any = self.generator_loss
        if compiled:
            self._play, self._critic_loss, self._generator_loss = (
                torch.compile(f, dynamic=False)
                for f in (self.player, self.critic_loss, self.generator_loss)
            )

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return self.play(draw(self.run, batch))

    def play(self, drawn: Draw) -> dict[str, Tensor]:
        """One step on these draws; the metrics."""
        played = self._play(drawn)
        fake = played["fake"].detach()
        critics, player = list(self.critics.parameters()), list(self.player.parameters())
        total, metrics = self._critic_loss(drawn, fake)
        grads = torch.autograd.grad(total, critics)
        metrics["d_gradient"] = _update(self.critic_rule, grads)
        self.critics.requires_grad_(False)
        weights = numbers(self._weights(), fake.device)
        total, found = self._generator_loss(drawn, played, weights)
        found["g_gradient"] = _update(self.rule, torch.autograd.grad(total, player))
        self.critics.requires_grad_(True)
        self.average.update(self.count)
        self.count += 1
        return {name: value.detach() for name, value in {**metrics, **found}.items()}

    def _weights(self) -> list[float]:
        """Of the reconstruction and of the posterior's divergence, at this step."""
        loss = self.run.loss
        falling = 0.5 + 0.5 * math.cos(math.pi * min(self.count / self.run.train.steps, 1.0))
        spread = loss.reconstruction - loss.reconstruction_final
        rising = min(self.count / max(1, loss.warmup), 1.0)
        return [loss.reconstruction_final + spread * falling, loss.kl * rising]

    def critic_loss(self, drawn: Draw, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """steps.gan._critic_objective."""
        loss, batch, picked = self.run.loss, drawn["batch"], drawn["picked"]
        x, y = view(self.run, drawn, drawn["real"]), view(self.run, drawn, fake)
        videos, conditions = [x, y], [batch, batch]
        if loss.penalty == "finite":
            by = loss.penalty_epsilon * drawn["penalty_noise"]
            videos, conditions = [*videos, x + by[0], y + by[1]], [*conditions, batch, batch]
        if loss.mismatch:
            videos, conditions = [*videos, x], [*conditions, {**batch, **drawn["wrong"]}]
        logits = self._judge_all(videos, picked, conditions)
        real, fake = logits[0], logits[1]
        terms = {
            "critic": F.softplus(fake - real).mean(1),
            "centring": loss.centring * ((real + fake) ** 2).mean(1),
        }
        weight = loss.penalty_weight * (x[0].numel() / 4 + picked.shape[1] * x[0, 0].numel())
        if loss.penalty == "finite":
            moved = zip(logits[:2], logits[2:4], strict=True)
            slopes = [((b - a).mean(1) / loss.penalty_epsilon) ** 2 for a, b in moved]
        else:
            penalised = {"exact": (x, y), "r1": (x,), "none": ()}[loss.penalty]
            slopes = [self._exact(video, picked, batch) for video in penalised]
        terms |= {name: weight * slope for name, slope in zip(("r1", "r2"), slopes, strict=False)}
        if loss.mismatch:
            scripted = batch["visible"].amax((1, 2))
            terms["mismatch"] = loss.mismatch * scripted * F.softplus(logits[-1] - real).mean(1)
        metrics = {f"d_{name}": term.mean() for name, term in terms.items()}
        metrics["gap"] = (real - fake).mean()
        metrics["sign_accuracy"] = (real > fake).float().mean()
        for name, slope in zip(("slope_real", "slope_fake"), slopes, strict=False):
            metrics[name] = slope.mean()
        return _total(terms), metrics

    def _exact(self, video: Tensor, picked: Tensor, batch: Batch) -> Tensor:
        video = video.detach().requires_grad_()
        with _lowered(self.run, video):
            total = self.critics(video, picked, batch).mean(1).sum()
        (gradient,) = torch.autograd.grad(total, video, create_graph=True)
        return (gradient**2).sum((1, 2, 3, 4))

    def generator_loss(
        self, drawn: Draw, played: dict[str, Tensor], weights: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """steps.gan._generator_objective."""
        loss, batch, real, y = self.run.loss, drawn["batch"], drawn["real"], played["fake"]
        epsilon = loss.reconstruction_epsilon
        error = (((y - real) ** 2 + epsilon**2).sqrt() - epsilon).mean((1, 2, 3, 4))
        terms = {"reconstruction": weights[0] * self._settled(drawn) * error}
        if "kl" in played:
            terms["kl"] = weights[1] * drawn["read"] * played["kl"]
        videos = [view(self.run, drawn, real), view(self.run, drawn, y)]
        a, b = self._judge_all(videos, drawn["picked"], [batch, batch])
        terms["generator"] = loss.generator * F.softplus(a.detach() - b).mean(1)
        metrics = {f"g_{name}": term.mean() for name, term in terms.items()}
        metrics["mse"] = ((y - real) ** 2).mean() / 4.0
        return _total(terms), metrics

    def _settled(self, drawn: Draw) -> Tensor:
        if not self.run.generator.latent:
            return torch.ones_like(drawn["read"])
        return torch.maximum(held(drawn["mask"], drawn["batch"]).float(), drawn["read"])

    def _judge_all(
        self, videos: list[Tensor], picked: Tensor, conditions: list[Batch]
    ) -> tuple[Tensor, ...]:
        """Logits of several clips an example in one call."""
        n, B = len(videos), len(picked)
        joined = {
            name: torch.stack([c[name] for c in conditions], 1).flatten(0, 1)
            for name in ("times", "boxes", "visible", "attributes", "background")
        }
        joined |= {name: conditions[0][name] for name in ("text", "label")}
        video, picks = torch.stack(videos, 1).flatten(0, 1), picked.repeat_interleave(n, 0)
        with _lowered(self.run, video):
            return self.critics(video, picks, joined).reshape(B, n, -1).unbind(1)


def _lowered(run: GanRun, like: Tensor) -> torch.autocast:
    """What networks are computed in: products and convolutions in the run's type."""
    low = run.compute.dtype == "bfloat16"
    return torch.autocast(like.device.type, torch.bfloat16, enabled=low)


def _total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([term.mean() for term in terms.values()]).sum()


def _divergence(mean: Tensor, log_std: Tensor) -> Tensor:
    return 0.5 * (mean**2 + (2 * log_std).exp() - 1.0 - 2 * log_std).sum(-1)


def _update(rule: Any, grads: tuple[Tensor, ...]) -> Tensor:
    """Moves what the gradient is of, unless it is not finite (see the module); its norm."""
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    if norm.is_cuda or torch.isfinite(norm):
        rule.update(grads)
    return norm


def held(mask: Tensor, batch: Batch) -> Tensor:
    """steps.gan._held: whether a clip (B,) is one by its conditions."""
    share_BT = mask.mean((2, 3, 4))
    ends = (share_BT[:, 0] > 0) & (share_BT[:, -1] > 0)
    return (batch["visible"].amax((1, 2)) > 0) | ends


def view(run: GanRun, drawn: Draw, video: Tensor) -> Tensor:
    """steps.gan._view: brightness, contrast, a shift with edges held, of clips without a script."""
    if not run.loss.augment:
        return video
    bright, contrast, dy, dx = drawn["augment"]  # each (B,1)
    H, W = video.shape[2:4]
    offset, gain = (v[..., None, None, None] for v in (bright, contrast))
    mean = video.mean((1, 2, 3, 4), keepdim=True)
    moved = (video - mean) * gain + mean + offset
    rows = (torch.arange(H, device=video.device) + dy).clamp(0, H - 1)[:, None, :, None, None]
    columns = (torch.arange(W, device=video.device) + dx).clamp(0, W - 1)[:, None, None, :, None]
    moved = moved.gather(2, rows.expand(video.shape)).gather(3, columns.expand(video.shape))
    scripted = drawn["batch"]["visible"].amax((1, 2))[:, None, None, None, None] > 0
    return torch.where(scripted, video, moved)


# What is drawn by chance


def draw(run: GanRun, batch: Batch) -> Draw:
    """steps.gan._draw: every random choice of a step, of the same distributions."""
    loss, sizes = run.loss, run.generator
    batch = _pick_times(batch, loss.frames)
    B, T, H, W, C = batch["video"].shape
    on: Any = {"device": batch["video"].device}
    uniform, strength = torch.rand(B, 8, **on), loss.augment
    for names, chance, at in (
        (("text",), run.tasks.drop_text, 0),
        (("boxes", "visible", "attributes", "background"), run.tasks.drop_script, 1),
        (("label",), run.tasks.drop_class, 2),
    ):
        kept = uniform[:, at] >= chance
        for name in names:
            shape = (-1, *[1] * (batch[name].ndim - 1))
            batch = {**batch, name: batch[name] * kept.reshape(shape)}
    mask = sample_tasks(B, (T, H, W), run.tasks, on)
    read = uniform[:, 3] < loss.posterior
    most = numbers([H * strength / 8, W * strength / 8], uniform.device)
    shift = ((2 * torch.rand(B, 2, **on) - 1) * most).round().long()
    colour = (uniform[:, 4:6] - 0.5) * (0.6 * strength)
    return {
        "batch": batch,
        "real": batch["video"].float() / 127.5 - 1.0,
        "mask": mask,
        "noise": torch.randn(B, T, H, W, C, **on),
        "latent": torch.randn(B, sizes.latent, **on),
        "read": (read & ~held(mask, batch)).float(),
        "picked": torch.rand(B, T, **on).argsort(1)[:, : run.critic.frames].sort(1).values,
        "penalty_noise": torch.randn(2, B, T, H, W, C, **on),
        "augment": (colour[:, :1], 1.0 + colour[:, 1:], shift[:, :1], shift[:, 1:]),
        "wrong": {"attributes": _mismatched(batch["attributes"], uniform[:, 6:])},
    }


def _pick_times(batch: Batch, frames: int) -> Batch:
    """steps.tasks.pick_frames."""
    B, T = batch["video"].shape[:2]
    if frames >= T:
        return batch
    on: Any = {"device": batch["video"].device}
    uneven = torch.rand(B, T, **on).argsort(1)[:, :frames].sort(1).values
    hop = T // frames
    first = torch.randint(0, T - hop * (frames - 1), (B, 1), **on)
    even = hop * torch.arange(frames, **on) + first
    index = torch.where(torch.rand(B, 1, **on) < 0.5, even, uneven)
    names = ("video", "times", "boxes", "visible")
    return {**batch, **{name: take_frames(batch[name], index) for name in names}}


def sample_tasks(B: int, shape: tuple[int, int, int], tasks: TaskConfig, on: Any) -> Tensor:
    """steps.tasks.sample_tasks: known pixels (B,T,H,W,1)."""
    T, H, W = shape
    shares = [tasks.nothing, tasks.first, tasks.start]
    shares += [tasks.ends / 2, tasks.ends / 4, tasks.ends / 4, tasks.scattered, tasks.region]
    kind = numbers(shares, on["device"]).multinomial(B, replacement=True)
    t = torch.arange(T, **on).expand(B, T)
    ends, none = (t == 0) | (t == T - 1), t < 0
    start = t < torch.randint(1, max(T, 2), (B, 1), **on)
    scattered = torch.rand(B, T, **on) < 0.25
    frames = [none, t == 0, start, ends, ends | (t % 4 == 0), ends | (t % 2 == 0), scattered, none]
    known = torch.stack(frames)[kind, torch.arange(B, **on)]
    sides = 0.25 + 0.5 * torch.rand(B, 2, **on)
    low = torch.rand(B, 2, **on) * (1 - sides)
    y, x = (((torch.arange(n, **on) + 0.5) / n).expand(B, n) for n in (H, W))
    rows = (y > low[:, :1]) & (y < low[:, :1] + sides[:, :1])
    columns = (x > low[:, 1:]) & (x < low[:, 1:] + sides[:, 1:])
    outside = ~(rows[:, :, None] & columns[:, None])
    region = (kind == len(shares) - 1)[:, None, None] & outside
    return (known[:, :, None, None] | region[:, None])[..., None].float()


def _mismatched(attributes_BN3: Tensor, uniform_B2: Tensor) -> Tensor:
    """steps.tasks.mismatched: every actor's kind or colour replaced by another one."""
    column = (uniform_B2[:, 0] < 0.5).long()
    count = torch.where(column == 0, len(script.KINDS), len(script.COLORS))[:, None]
    offset = 1 + (uniform_B2[:, 1:] * (count - 1)).long()
    old = attributes_BN3.gather(2, column[:, None, None].expand(-1, attributes_BN3.shape[1], 1))
    new = torch.where(old[..., 0] > 0, (old[..., 0] - 1 + offset) % count + 1, 0)
    here = torch.arange(3, device=new.device) == column[:, None, None]
    return torch.where(here, new[..., None].to(old.dtype), attributes_BN3)
