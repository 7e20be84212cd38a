"""Runs pytest in a process where torchvision can be imported: `python with_torchvision.py PYTEST_ARGUMENTS`.

Some official processors, and Gemma 3n's unused vision tower, import torchvision, whose CUDA wheel loads beside CPU
torch only after two operator schemas were registered. All other code here runs without torchvision.
"""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

SCHEMAS = torch.library.Library("torchvision", "DEF")


def main() -> int:
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            SCHEMAS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")
    return int(pytest.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
