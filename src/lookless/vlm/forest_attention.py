"""Attention over rows packed into one by `forest`: each token sees its own row and nothing else.

No work goes into pairs of tokens of different branches. On a CPU every span attends to itself,
and all that follows a span attends to it as a whole; the softmaxes of these parts are put together
by their log-sum-exps, and gradients by PyTorch's flash kernel are exact, given those of the whole.
On a GPU flex attention does it in one kernel that skips blocks without a pair.

Shapes: B = 1, H heads, K heads of keys and values, G = H / K, L packed tokens, C channels.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from lookless.vlm.forest import Span

_TOLERANCE = 0.02
"""Relative error that half precision, or a GPU's short floats, may have."""
NAME = "lookless_forest"
"""The attention of transformers that is `attend` where a layout is given, else the usual one."""


class Layout:
    """Which packed tokens see which, as kernels want to know it."""

    def __init__(self, spans: Sequence[Span], device: torch.device) -> None:
        """Lay out spans that are in order and cover all tokens."""
        self.spans = tuple(spans)
        self.device = device
        self.last_L = torch.cat(
            [torch.full((span.end - span.start,), span.last) for span in self.spans]
        ).to(device)
        self._block_mask: Any = None

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Return whether tokens see others, given the places of both."""
        return (key <= query) & (query < self.last_L[key])

    @property
    def block_mask(self) -> Any:
        """Return the mask of flex attention; while it is made, it takes a few bytes a pair."""
        if self._block_mask is None:
            length = len(self.last_L)
            self._block_mask = create_block_mask(
                lambda b, h, query, key: self.sees(query, key),
                None,
                None,
                length,
                length,
                device=self.device,
            )
        return self._block_mask


def attend(q_BHLC: Tensor, k_BKLC: Tensor, v_BKLC: Tensor, layout: Layout, scale: float) -> Tensor:
    """Return what each token gathers from those that it sees, (B, H, L, C).

    Args:
        q_BHLC: Queries; B must be 1.
        k_BKLC: Keys.
        v_BKLC: Values.
        layout: Which tokens see which.
        scale: Of the products of queries and keys.
    """
    if q_BHLC.device.type == "cpu":
        heads = k_BKLC.shape[1]
        q_KGLC = q_BHLC[0].unflatten(0, (heads, -1))
        run: Callable[..., Tensor] = _Spans.apply
        out_KGLC = run(q_KGLC, k_BKLC[0], v_BKLC[0], layout.spans, scale)
        return out_KGLC.flatten(0, 1)[None]
    flex: Any = _compiled() if q_BHLC.is_cuda else flex_attention
    out: Tensor = flex(
        q_BHLC, k_BKLC, v_BKLC, block_mask=layout.block_mask, scale=scale, enable_gqa=True
    )
    return out


def why_not_on(
    device: torch.device, dtype: torch.dtype, run: Callable[..., Tensor] = attend
) -> str | None:
    """Return why packed rows cannot be attended to on a device, None if they can: it is tried.

    What comes out, and the gradients, must be those of a mask.

    Args:
        device: Where; CPUs can, unless `run` is another.
        dtype: Of the computation.
        run: What is tried.
    """
    if device.type == "cpu" and run is attend:
        return None
    layout = Layout([Span(0, 96, 320), Span(96, 192, 192), Span(192, 320, 320)], device)
    drawn = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, heads, 320, 64, generator=drawn) for heads in (4, 2, 2)]
    inputs = [part.to(device, dtype).requires_grad_() for part in parts]
    places_L = torch.arange(320, device=device)
    mask_LL = layout.sees(places_L[:, None], places_L[None])
    weights = torch.randn(1, 4, 320, 64, generator=drawn).to(device, dtype)

    def of_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask_LL, scale=0.125, enable_gqa=True
        )

    def results(call: Callable[..., Tensor]) -> list[Tensor]:
        out = call(*inputs)
        return [out, *torch.autograd.grad((out * weights).sum(), inputs)]

    try:
        found = results(lambda *qkv: run(*qkv, layout, 0.125))
    except Exception as error:  # whatever a compiler raises
        return f"attention over packed rows failed: {str(error).partition(chr(10))[0][:200]}"
    for one, expected in zip(found, results(of_mask), strict=True):
        off = float((one - expected).float().norm() / expected.float().norm())
        if not off < _TOLERANCE:
            return f"attention over packed rows is off by {off:.2g}"
    return None


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=True)


class _Spans(torch.autograd.Function):
    """Part by part, with PyTorch's flash kernel for CPUs."""

    @staticmethod
    def forward(
        ctx: Any,
        q_KGLC: Tensor,
        k_KLC: Tensor,
        v_KLC: Tensor,
        spans: Sequence[Span],
        scale: float,
    ) -> Tensor:
        out_KGLC = torch.empty(q_KGLC.shape, dtype=q_KGLC.dtype)
        lse_KGL = torch.empty(
            q_KGLC.shape[:-1], dtype=torch.promote_types(q_KGLC.dtype, torch.float32)
        )
        for queries, keys, is_causal in _parts(spans):
            part_KGTC, part_KGT = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q_KGLC[:, :, queries],
                _grouped(k_KLC[:, keys], q_KGLC),
                _grouped(v_KLC[:, keys], q_KGLC),
                0.0,
                is_causal,
                scale=scale,
            )
            if is_causal:  # the first part of these queries
                out_KGLC[:, :, queries], lse_KGL[:, :, queries] = part_KGTC, part_KGT
                continue
            seen_KGT = lse_KGL[:, :, queries]
            share_KGT1 = torch.sigmoid(part_KGT - seen_KGT)[..., None].to(part_KGTC.dtype)
            out_KGLC[:, :, queries].lerp_(part_KGTC, share_KGT1)
            lse_KGL[:, :, queries] = torch.logaddexp(seen_KGT, part_KGT)
        ctx.save_for_backward(q_KGLC, k_KLC, v_KLC, out_KGLC, lse_KGL)
        ctx.spans, ctx.scale = spans, scale
        return out_KGLC

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_KGLC, k_KLC, v_KLC, out_KGLC, lse_KGL = ctx.saved_tensors
        grad_KGLC = grads[0].contiguous()  # the kernel goes by the strides of rows alone
        dq_KGLC = torch.empty_like(out_KGLC)
        dk_KLC, dv_KLC = torch.empty_like(k_KLC), torch.empty_like(v_KLC)
        for queries, keys, is_causal in _parts(ctx.spans):
            dq_KGTC, dk_KGSC, dv_KGSC = (
                torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                    grad_KGLC[:, :, queries],
                    q_KGLC[:, :, queries],
                    _grouped(k_KLC[:, keys], q_KGLC),
                    _grouped(v_KLC[:, keys], q_KGLC),
                    out_KGLC[:, :, queries],
                    lse_KGL[:, :, queries],
                    0.0,
                    is_causal,
                    scale=ctx.scale,
                )
            )
            if is_causal:  # each token is in one such part
                dq_KGLC[:, :, queries] = dq_KGTC
                dk_KLC[:, keys], dv_KLC[:, keys] = dk_KGSC.sum(1), dv_KGSC.sum(1)
            else:
                dq_KGLC[:, :, queries] += dq_KGTC
                dk_KLC[:, keys] += dk_KGSC.sum(1)
                dv_KLC[:, keys] += dv_KGSC.sum(1)
        return dq_KGLC, dk_KLC, dv_KLC, None, None


def _parts(spans: Sequence[Span]) -> list[tuple[slice, slice, bool]]:
    """Return (queries, keys, whether one sees only what is before it), each span itself first."""
    own = [(slice(s.start, s.end), slice(s.start, s.end), True) for s in spans]
    behind = [(slice(s.end, s.last), slice(s.start, s.end), False) for s in spans if s.last > s.end]
    return own + behind


def _grouped(keys_KSC: Tensor, q_KGLC: Tensor) -> Tensor:
    """Return keys or values as seen by every head of their group, without a copy."""
    return keys_KSC[:, None].expand(-1, q_KGLC.shape[1], -1, -1)


def _forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    if layout is None:
        usual: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **more
        )
        return usual
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend(query, key, value, layout, scale).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, sdpa_mask)
