"""What a training computes on: the device, the number format, the CPU's threads.

    device  wanted    computes in
    cuda    auto      bfloat16 where the GPU has it, else float16 with a scaled loss
    cpu     auto      bfloat16 where the CPU has its instructions, else float32: ten times faster
    any     a format  that format; float16 with a scaled loss

Weights, their averages and the loss are float32 everywhere.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

Format = Literal["auto", "float32", "bfloat16", "float16"]


def choose_device(wanted: str) -> torch.device:
    """`auto` is a GPU where there is one."""
    return torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    )


class MixedPrecision:
    """Automatic mixed precision, or float32.

    Args:
        device: Where the network runs.
        wanted: The format of the convolutions.
    """

    def __init__(self, device: torch.device, wanted: Format) -> None:
        self._device = device.type
        self.format: str = _suited(device) if wanted == "auto" else wanted
        # float16 loses small gradients; a scaler that is off passes everything through.
        self.scaler = torch.amp.GradScaler(self._device, enabled=self.format == "float16")

    def autocast(self) -> torch.autocast:
        """The context for the forward pass."""
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
    """Use this many CPU threads, 0 for all; tiny networks are slower on several (measured)."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
