"""Chooses the device, the number format and the CPU threads of a training.

    device  wanted    computes in
    cuda    auto      bfloat16 if the GPU supports it, else float16 with a scaled loss
    cpu     auto      bfloat16 if the CPU has instructions for it, else float32 (much faster there)
    any     a format  that format; float16 with a scaled loss

Weights, their averages and the loss are always float32.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

Format = Literal["auto", "float32", "bfloat16", "float16"]


def choose_device(wanted: str) -> torch.device:
    """Return the wanted device; `auto` is a GPU if there is one."""
    return torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    )


class MixedPrecision:
    """Automatic mixed precision of the convolutions, or float32."""

    def __init__(self, device: torch.device, wanted: Format) -> None:
        self._device = device.type
        self.format: str = _suited(device) if wanted == "auto" else wanted
        # float16 loses small gradients; a disabled scaler does nothing.
        self.scaler = torch.amp.GradScaler(self._device, enabled=self.format == "float16")

    def autocast(self) -> torch.autocast:
        """Return the context of the forward pass."""
        mixed = self.format != "float32"
        return torch.autocast(
            self._device, getattr(torch, self.format) if mixed else None, enabled=mixed
        )


def _suited(device: torch.device) -> str:
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if native else "float16"


@contextmanager
def cpu_threads(count: int) -> Generator[None]:
    """Use this many CPU threads, 0 for all; tiny networks are slower with several (measured)."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
