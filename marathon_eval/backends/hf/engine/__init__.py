"""Runs local models with torch; imported on the first cache miss, so that cached runs need no torch.

transformers imports torchvision whenever it is installed. A torchvision built for another torch (a CUDA wheel beside
CPU torch) then breaks every audio model with "operator torchvision::nms does not exist". The engine uses no images,
so it hides such a torchvision from this process before transformers imports it.
"""

from __future__ import annotations

from marathon_eval.api.torchvision import hide_broken_torchvision

hide_broken_torchvision()
