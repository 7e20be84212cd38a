"""The engine's torch: imported on the first cache miss, never before.

transformers imports torchvision wherever it is installed, and a torchvision that was built for another torch (a CUDA
wheel beside CPU torch) then takes every audio model down with "operator torchvision::nms does not exist". Nothing
here needs pictures, so such a torchvision is hidden from this process before transformers looks for it.
"""

from __future__ import annotations

from marathon_eval.api.torchvision import hide_broken_torchvision

hide_broken_torchvision()
