"""A small llama: the architecture, its GGUF tensor names, and ggml's roundings Q4_0 and Q8_0.

Rotary embedding turns neighbouring pairs (2i, 2i+1), which is what GGUF's llama architecture stores, so the
weights need no permutation on their way into the file.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 32  # weights that share one scale, in both formats


@dataclass(frozen=True)
class Config:
    n_vocab: int = 4096
    n_ctx: int = 512
    n_embd: int = 256
    n_layer: int = 8
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 768
    rms_eps: float = 1e-5
    rope_base: float = 10000.0
    dropout: float = 0.2

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


def round_q4_0(weight: Tensor) -> Tensor:
    """`weight` [n_out, n_in] after a trip through Q4_0, rounded as ggml's reference does.

    d = (value of largest magnitude, with its sign) / -8, kept as f16; q = floor(w / d + 8.5) at most 15.
    """
    blocks = weight.detach().float().reshape(-1, BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scale = largest / -8
    inverse = torch.where(scale != 0, 1 / scale, torch.zeros_like(scale))
    levels = (blocks * inverse + 8.5).floor().clamp(max=15)
    return ((levels - 8) * scale.half().float()).reshape(weight.shape)


def round_q8_0(weight: Tensor) -> Tensor:
    """`weight` [n_out, n_in] after a trip through Q8_0: d = largest magnitude / 127, kept as f16."""
    blocks = weight.detach().float().reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    inverse = torch.where(scale != 0, 1 / scale, torch.zeros_like(scale))
    levels = blocks * inverse
    levels = levels.sign() * (levels.abs() + 0.5).floor()  # C's roundf: halves away from zero
    return (levels * scale.half().float()).reshape(weight.shape)


def straight_through(weight: Tensor, rounded: Tensor) -> Tensor:
    """Computes with `rounded`, passes the gradient to `weight`."""
    return weight + (rounded - weight).detach()


class Matrix(nn.Module):
    """y = x W^T without bias; W [n_out, n_in], rounded to Q4_0 while `quantised`."""

    def __init__(self, n_in: int, n_out: int, std: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * std)
        self.quantised = False

    def forward(self, x: Tensor) -> Tensor:
        weight = straight_through(self.weight, round_q4_0(self.weight)) if self.quantised else self.weight
        return F.linear(x, weight)


class RmsNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(config: Config) -> tuple[Tensor, Tensor]:
    """Cosines and sines [n_ctx, head_dim / 2]."""
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    angles = torch.arange(config.n_ctx, dtype=torch.float64)[:, None] * config.rope_base**-half
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns each pair (2i, 2i+1) of x [n_batch, n_tokens, n_heads, head_dim] by its position's angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = cos[: x.shape[1], None, :], sin[: x.shape[1], None, :]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)); attribute names are GGUF's."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        width, kv_width = config.n_embd, config.n_head_kv * config.head_dim
        std, out_std = 0.02, 0.02 / (2 * config.n_layer) ** 0.5
        self.attn_norm = RmsNorm(width, config.rms_eps)
        self.attn_q = Matrix(width, width, std)
        self.attn_k = Matrix(width, kv_width, std)
        self.attn_v = Matrix(width, kv_width, std)
        self.attn_output = Matrix(width, width, out_std)
        self.ffn_norm = RmsNorm(width, config.rms_eps)
        self.ffn_gate = Matrix(width, config.n_ff, std)
        self.ffn_up = Matrix(width, config.n_ff, std)
        self.ffn_down = Matrix(config.n_ff, width, out_std)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        drop = self.config.dropout
        x = x + F.dropout(self.attention(self.attn_norm(x), cos, sin), drop, self.training)
        h = self.ffn_norm(x)
        h = self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))
        return x + F.dropout(h, drop, self.training)

    def attention(self, h: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        c, (n_batch, n_tokens, width) = self.config, h.shape
        q = rotate(self.attn_q(h).view(n_batch, n_tokens, c.n_head, c.head_dim), cos, sin)
        k = rotate(self.attn_k(h).view(n_batch, n_tokens, c.n_head_kv, c.head_dim), cos, sin)
        v = self.attn_v(h).view(n_batch, n_tokens, c.n_head_kv, c.head_dim)
        k, v = (t.repeat_interleave(c.n_head // c.n_head_kv, dim=2) for t in (k, v))
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        drop = c.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=True)
        return self.attn_output(mixed.transpose(1, 2).reshape(n_batch, n_tokens, width))


class Llama(nn.Module):
    """Token ids [n_batch, n_tokens] to logits [n_batch, n_tokens, n_vocab]; the head is the embedding."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.n_vocab, config.n_embd)
        nn.init.normal_(self.token_embd.weight, std=0.02)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.output_norm = RmsNorm(config.n_embd, config.rms_eps)
        cos, sin = rope_table(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.quantised = False

    def set_quantised(self, quantised: bool) -> None:
        """Whether to compute with weights as the GGUF file will hold them."""
        self.quantised = quantised
        for module in self.modules():
            if isinstance(module, Matrix):
                module.quantised = quantised

    def forward(self, ids: Tensor) -> Tensor:
        table = self.token_embd.weight
        if self.quantised:
            table = straight_through(table, round_q8_0(table))
        x = F.dropout(F.embedding(ids, table), self.config.dropout, self.training)
        for block in self.blk:
            x = block(x, self.cos, self.sin)
        return F.linear(self.output_norm(x), table)
