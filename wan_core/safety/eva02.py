"""EVA-02 as an image classifier (Freepik/nsfw_image_detector), inference only, with timm's parameter names.

Our own: transformers needs timm and torchvision for it, and torchvision's wheels need exactly their own torch. Logits
differ from timm 1.0.31's by less than 1e-5.

Sources: https://arxiv.org/abs/2303.11331; huggingface/pytorch-image-models, `timm/models/eva.py`.
"""

import re
from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_DIM = 64  # of every published EVA-02
REFERENCE_GRID = 16  # the pre-training's grid, for rotary positions: 224 / 14
LAYER_NORM_EPS = 1e-6


def from_weights(weights: Mapping[str, Tensor]) -> "Eva02":
    """float32, in eval mode; all sizes follow from `weights`.

    Raises:
        KeyError, RuntimeError: no EVA-02 with SwiGLU and mean pooling.
    """
    tokens, dim = weights["pos_embed"].shape[1:]
    model = Eva02(
        dim=dim,
        depth=1 + max(int(found[1]) for name in weights if (found := re.match(r"blocks\.(\d+)\.", name))),
        hidden=weights["blocks.0.mlp.fc1_g.weight"].shape[0],
        grid=isqrt(tokens - 1),
        patch=weights["patch_embed.proj.weight"].shape[-1],
        classes=weights["head.weight"].shape[0],
    )
    model.load_state_dict(dict(weights), strict=True)
    return model.float().eval()


class Eva02(nn.Module):
    """(B, 3, side, side) normalised → (B, classes) logits."""

    def __init__(self, dim: int, depth: int, hidden: int, grid: int, patch: int, classes: int) -> None:
        super().__init__()
        self.side = grid * patch
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, stride=patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid * grid + 1, dim))
        self.blocks = nn.ModuleList(Block(dim, hidden) for _ in range(depth))
        self.fc_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(dim, classes)
        self.register_buffer("rotation", rotation(grid), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, self.rotation)
        logits: Tensor = self.head(self.fc_norm(tokens[:, 1:].mean(dim=1)))
        return logits


class Block(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = SwiGLU(dim, hidden)

    def forward(self, tokens: Tensor, rotation: Tensor) -> Tensor:
        mixed: Tensor = tokens + self.attn(self.norm1(tokens), rotation)
        out: Tensor = mixed + self.mlp(self.norm2(mixed))
        return out


class Attention(nn.Module):
    """Rotary positions, except for the class token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, rotation: Tensor) -> Tensor:
        q, k, v = (
            project(tokens).reshape(*tokens.shape[:2], -1, HEAD_DIM).transpose(1, 2)  # (B, heads, tokens, HEAD_DIM)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(rotate(q, rotation), rotate(k, rotation), v)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class SwiGLU(nn.Module):
    """With a norm before the last projection (as in NormFormer)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(dim, hidden)
        self.fc1_x = nn.Linear(dim, hidden)
        self.norm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.norm(F.silu(self.fc1_g(tokens)) * self.fc1_x(tokens)))
        return out


def rotation(grid: int) -> Tensor:
    """(grid², HEAD_DIM / 2), complex: by row, then by column."""
    frequencies = 10_000 ** -(torch.arange(HEAD_DIM // 4) / (HEAD_DIM // 4))
    places = torch.arange(grid) / grid * REFERENCE_GRID
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    angles = torch.stack([rows, columns], dim=-1).flatten(0, 1)[..., None] * frequencies
    return torch.polar(torch.ones(()), angles.flatten(1))


def rotate(tokens: Tensor, rotation: Tensor) -> Tensor:
    """`tokens`: (B, heads, 1 + grid², HEAD_DIM); the class token stays."""
    first, rest = tokens[:, :, :1], tokens[:, :, 1:]
    pairs = torch.view_as_complex(rest.reshape(*rest.shape[:-1], -1, 2))
    return torch.cat([first, torch.view_as_real(pairs * rotation).flatten(-2)], dim=2)
