"""How torch is used in this process: where it computes, with what numbers, with how many threads."""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass
from typing import Any

import torch

from streamapp.engines.weights import ModelsError
from streamapp.settings import Settings

# glibc's malloc.h. Buffers of activations are tens of megabytes: by default each is mapped, faulted in page by page and
# given back, for every layer anew. Kept, an InceptionResnetV1 batch of 8 takes about half the time.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BELOW = 1 << 30  # bytes; larger blocks are mapped as ever
NEVER_TRIM = 2**31 - 1

_once = threading.Lock()
_prepared: list[bool] = []


@dataclass(frozen=True, slots=True)
class Runtime:
    """device: where models compute. dtype: of the weights of CLIP and BLIP; faces are always float32."""

    device: Any
    dtype: Any


def prepare(settings: Settings) -> Runtime:
    """Set up torch for this process (once; a second call only answers) and choose device and numbers.

    Raises ModelsError: the device that the settings name is not there.
    """
    with _once:
        if not _prepared:
            _tune(threads(settings.model_threads, looking=settings.engine_threads))
            _prepared.append(True)
    device = choose_device(settings.device)
    return Runtime(device=device, dtype=choose_dtype(settings.models_dtype, device))


def threads(wanted: int, *, looking: int) -> int:
    """Threads of one look. 0: this process's cores divided by the `looking` engine threads, so that all looks together
    use every core once; more threads than cores wait for each other in every layer."""
    return wanted or max(1, len(os.sched_getaffinity(0)) // looking)


def choose_device(wanted: str) -> Any:
    """auto: the first GPU if there is one, else the CPU. Raises ModelsError."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise ModelsError(f"STREAMAPP_DEVICE={wanted}: torch sees {torch.cuda.device_count()} GPUs")
    return device


def choose_dtype(wanted: str, device: Any) -> Any:
    """auto: bfloat16 where the hardware multiplies it, for there it is about twice as fast; elsewhere it would be
    slower than float32. Vectors have a cosine above 0.999 to those of float32."""
    if wanted != "auto":
        return getattr(torch, wanted)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities()
        fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def _tune(count: int) -> None:
    torch.set_num_threads(count)  # of each thread that computes, not of all together
    # oneDNN instead of MKL for float32 products, which on AMD is twice as fast and still float32. On a CPU with AMX it
    # may be bfloat16, in the one dense layer of the face embedder too; convolutions are not concerned.
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = False  # on a GPU the faces' convolutions would else keep 10 bits of 23
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(M_MMAP_THRESHOLD, KEEP_BELOW)
    mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)
