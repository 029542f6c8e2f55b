"""``benchmarks.transformer`` in PyTorch, from its Flax parameters; Adam is PyTorch's fused one."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_networks import Attention, FeedForward, Tree, dense, embedding, rms_norm
from benchmarks.torch_networks import tensor as as_tensor
from benchmarks.torch_optim import make_optimizer
from jaxvid.config import OptimConfig


class Transformer(nn.Module):
    """Tokens and targets (B,L) -> the loss."""

    def __init__(self, p: Tree, heads: int) -> None:
        super().__init__()
        self.embed, self.place = embedding(p["embed"]), nn.Parameter(as_tensor(p["place"]))
        self.layers = sum(name.startswith("feed") for name in p)
        for i in range(self.layers):
            setattr(self, f"attention{i}", Attention(p[f"attention{i}"], heads))
            setattr(self, f"feed{i}", FeedForward(p[f"feed{i}"]))
        self.logits = dense(p["logits"])

    def forward(self, tokens_BL: Tensor, targets_BL: Tensor) -> Tensor:
        x = self.embed(tokens_BL) + self.place
        for i in range(self.layers):
            x = x + getattr(self, f"attention{i}")(rms_norm(x))
            x = x + getattr(self, f"feed{i}")(rms_norm(x))
        return F.cross_entropy(self.logits(rms_norm(x)).flatten(0, 1), targets_BL.flatten())


class TransformerStep:
    """``step(tokens, targets)``: forward, backward, update."""

    def __init__(
        self, p: Tree, heads: int, config: OptimConfig, steps: int, *, compiled: bool = False
    ) -> None:
        self.model = Transformer(p, heads)
        self.rule = make_optimizer(self.model, config, steps)
        self.loss: Any = torch.compile(self.model, dynamic=False) if compiled else self.model

    def __call__(self, tokens_BL: Tensor, targets_BL: Tensor) -> Tensor:
        loss = self.loss(tokens_BL, targets_BL)
        self.rule.update(torch.autograd.grad(loss, list(self.model.parameters())))
        return loss.detach()
