"""jaxvid's optimizers and moving average in PyTorch, for the benchmarks: the same updates.

PyTorch's own Muon orthogonalises in bfloat16 and corrects no bias; this one follows optax.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jaxvid.config import OptimConfig
from jaxvid.optim import ADAM_SHARE, HEADS

BETA, EPSILON = 0.95, 1e-8  # optax.contrib.muon
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def rate(config: OptimConfig, steps: int, at: int) -> float:
    """optim.schedule: the learning rate of step ``at``."""
    warmup = min(config.warmup, max(1, steps // 2))
    first = config.lr / (warmup + 1)
    if at < warmup:
        return first + (config.lr - first) * at / warmup
    done = min(1.0, (at - warmup) / max(steps - warmup, 1))
    return config.lr * ((1 - config.final) * 0.5 * (1 + math.cos(math.pi * done)) + config.final)


def is_matrix(module: nn.Module, name: str, parameter: Tensor) -> bool:
    """Whether optim._matrices gives the parameter of this name to Muon."""
    *path, leaf = name.split(".")
    embeds = isinstance(module.get_submodule(".".join(path)), nn.Embedding)
    return leaf == "weight" and not embeds and HEADS.isdisjoint(path) and parameter.ndim > 1


def numbers(values: Sequence[float], device: torch.device) -> Tensor:
    """What the host knows, as a tensor on the device, without waiting for what runs there."""
    host = torch.tensor(values)
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)


class Adam:
    """optax.adam behind a clip by global norm: PyTorch's fused one."""

    def __init__(self, module: nn.Module, config: OptimConfig, steps: int) -> None:
        self.parameters, self.config, self.steps = list(module.parameters()), config, steps
        self.count = 0
        betas = (config.b1, config.b2)
        self.rule = torch.optim.Adam(self.parameters, lr=1.0, betas=betas, fused=True)

    def update(self, grads: Sequence[Tensor]) -> None:
        """Moves the parameters in place."""
        for parameter, grad in zip(self.parameters, grads, strict=True):
            parameter.grad = grad
        self.rule.param_groups[0]["lr"] = rate(self.config, self.steps, self.count)
        nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.rule.step()
        self.rule.zero_grad()
        self.count += 1


class Muon:
    """optim.make_optimizer's Muon: matrices orthogonalised, all else by Adam with Nesterov's
    momentum, behind a clip by global norm.
    """

    def __init__(
        self, module: nn.Module, config: OptimConfig, steps: int, *, compiled: bool = False
    ) -> None:
        self.config, self.steps, self.count = config, steps, 0
        named = list(module.named_parameters())
        self.matrix = [is_matrix(module, name, p) for name, p in named]
        self.parameters = [p for _, p in named]
        self.stacks = _stacks(self._share(list(self.parameters), True))
        self.mu = [torch.zeros_like(p) for p in self.parameters]
        self.nu = [torch.zeros_like(p) for p in self.parameters]
        # On a GPU little is left to fuse, and ten thousand operations take minutes to compile.
        compiled = compiled and not self.parameters[0].is_cuda
        self.move = torch.compile(self._move, dynamic=False) if compiled else self._move

    def update(self, grads: Sequence[Tensor]) -> None:
        """Moves the parameters in place."""
        b1, b2, n = self.config.b1, self.config.b2, self.count + 1
        lr = rate(self.config, self.steps, self.count)
        # What changes from step to step is a tensor: the compiler would take numbers as fixed.
        scalars = numbers([
            lr, BETA / (1 - BETA ** (n + 1)), (1 - BETA) / (1 - BETA**n),
            ADAM_SHARE * lr, b1 / (1 - b1 ** (n + 1)), (1 - b1) / (1 - b1**n), 1 - b2**n,
        ], self.parameters[0].device)  # fmt: skip
        self.move([p.detach() for p in self.parameters], list(grads), self.mu, self.nu, scalars)
        self.count += 1

    def _move(
        self,
        parameters: list[Tensor],
        grads: list[Tensor],
        mu: list[Tensor],
        nu: list[Tensor],
        scalars: Tensor,
    ) -> None:
        norms = torch.stack(torch._foreach_norm(grads))
        shrink = (self.config.clip / torch.linalg.vector_norm(norms)).clamp(max=1.0)
        grads = list(torch._foreach_mul(grads, shrink))
        hidden = [self._share(part, True) for part in (parameters, grads, mu)]
        rest = [self._share(part, False) for part in (parameters, grads, mu, nu)]
        self._muon(scalars[:3], *hidden)
        self._adam(scalars[3:], *rest)

    def _share(self, tensors: list[Tensor], matrices: bool) -> list[Tensor]:
        return [t for t, m in zip(tensors, self.matrix, strict=True) if m == matrices]

    def _muon(
        self, scalars: Tensor, parameters: list[Tensor], grads: list[Tensor], mu: list[Tensor]
    ) -> None:
        lr, of_mu, of_grad = scalars.unbind()
        torch._foreach_lerp_(mu, grads, 1 - BETA)
        ahead = list(torch._foreach_mul(mu, of_mu))
        torch._foreach_add_(ahead, torch._foreach_mul(grads, of_grad))
        for same in self.stacks:
            update = orthogonal(torch.stack([ahead[i].flatten(1) for i in same]))
            update = lr * (0.2 * math.sqrt(max(update.shape[1:]))) * update
            for i, moved in zip(same, update, strict=True):
                ahead[i] = moved.reshape(parameters[i].shape)
        torch._foreach_sub_(parameters, ahead)

    def _adam(
        self,
        scalars: Tensor,
        parameters: list[Tensor],
        grads: list[Tensor],
        mu: list[Tensor],
        nu: list[Tensor],
    ) -> None:
        lr, of_mu, of_grad, nu_sum = scalars.unbind()
        torch._foreach_lerp_(mu, grads, 1 - self.config.b1)
        torch._foreach_mul_(nu, self.config.b2)
        torch._foreach_addcmul_(nu, grads, grads, 1 - self.config.b2)
        up = torch._foreach_mul(mu, of_mu * lr)
        torch._foreach_add_(up, torch._foreach_mul(grads, of_grad * lr))
        down = torch._foreach_sqrt(torch._foreach_div(nu, nu_sum))
        torch._foreach_add_(down, EPSILON)
        torch._foreach_div_(up, down)
        torch._foreach_sub_(parameters, up)


def _stacks(parameters: list[Tensor]) -> list[list[int]]:
    """Matrices of one shape together on a GPU, one by one on a CPU: what is faster there."""
    found: dict[Any, list[int]] = {}
    for i, p in enumerate(parameters):
        found.setdefault(p.shape if p.is_cuda else i, []).append(i)
    return list(found.values())


def orthogonal(x: Tensor) -> Tensor:
    """optax.contrib.orthogonalize_via_newton_schulz, of matrices (n, rows, columns)."""
    a, b, c = NEWTON_SCHULZ
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + EPSILON)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Average:
    """state.ema_update of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.parameters, self.decay = list(module.parameters()), decay
        self.values = [p.detach().clone() for p in self.parameters]

    def update(self, step: int) -> None:
        """Moves towards the parameters after step ``step``."""
        rate = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], rate)


def make_optimizer(
    module: nn.Module, config: OptimConfig, steps: int, *, compiled: bool = False
) -> Adam | Muon:
    """optim.make_optimizer."""
    if config.kind == "adam":
        return Adam(module, config, steps)
    return Muon(module, config, steps, compiled=compiled)
