"""Defines the types that models, presses, filters and metrics are written against.

For authors of a model (`models/NAME.py`):

- `model`: `Model`, `ModelSettings`, `Request`, `Response`, `Usage`, `Generation`
- `audio`: `Audio`, a section of an audio file that is decoded when it is needed
- `secrets`: reads API keys from the environment and removes them from what is written
- `torchvision`: hides a torchvision that can't be imported, before transformers is imported

For authors of a press (`presses/NAME.py`):

- `press`: `PruningPress` and `EvictionPress`, and the tensors that they get to see
- `press_scores`: scores that several eviction presses share
- `press_stages`: reads `layer=2+8,ratio=0.3+0.7`

For the scoring of responses:

- `filter`: `Pipeline`, the filters that extract an `Answer` from a response
- `metric`: `Metric`, and `Tally`, which collects a metric's counts row by row
- `doc`: `Doc`, a row of a dataset with its audio and its target
- `results`: `Sample`, `TaskResult` and `RunResult`, which results.json and samples_*.jsonl are written from

For code that changes or mixes sound: `transforms` (`--transform`), `sound` and `loudness`.

`registry` finds a task, a model or a press by its name.
"""
