"""How torch is set up, each time in a process of its own: it is done once per process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from streamapp.engines.torch_runtime import choose_device, choose_dtype, threads
from streamapp.engines.weights import ModelsError

CPU = torch.device("cpu")
CORES = len(os.sched_getaffinity(0))
SET_UP = """
import json, sys, threading
from streamapp.engines.torch_runtime import prepare
from streamapp.settings import Settings
import torch
first = prepare(Settings(_env_file=None, **json.loads(sys.argv[1])))
again = prepare(Settings(_env_file=None, model_threads=7))
seen = []
thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
thread.start(); thread.join()
print(json.dumps({
    "device": str(first.device), "dtype": str(first.dtype), "threads": torch.get_num_threads(), "in a thread": seen[0],
    "precision": torch.get_float32_matmul_precision(), "autocast": torch.is_autocast_enabled("cpu"),
}))
"""


def set_up(**given: object) -> Any:
    command = [sys.executable, "-W", "error", "-c", SET_UP, json.dumps(given)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path.cwd()).stdout)


def test_a_process_is_set_up_once() -> None:
    found = set_up(model_threads=1, engine_threads=2, device="cpu", models_dtype="float32")
    assert found == {
        "device": "cpu",
        "dtype": "torch.float32",
        "threads": 1,
        "in a thread": 1,
        "precision": "medium",
        "autocast": False,
    }


def test_cores_are_shared_by_the_engine_threads() -> None:
    assert threads(0, looking=1) == CORES
    assert threads(0, looking=10 * CORES) == 1
    assert threads(3, looking=2) == 3


def test_numbers_are_what_the_hardware_is_fast_with() -> None:
    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fast = "avx512_bf16" in flags or "amx_bf16" in flags
    assert choose_dtype("auto", CPU) == (torch.bfloat16 if fast else torch.float32)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelsError, match="STREAMAPP_DEVICE=cuda:99"):
        choose_device("cuda:99")


def test_the_rest_of_the_application_does_not_import_torch() -> None:
    code = (
        "import sys, pkgutil, streamapp.engines.registry, streamapp.engines.weights, streamapp.engines.labels,"
        " streamapp.engines.zero_shot, streamapp.engines.face_quality, streamapp.cli.main, streamapp.resources\n"
        "print(sorted({'torch', 'open_clip', 'transformers', 'facenet_pytorch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
