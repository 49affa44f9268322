"""Learning rate over the course of a run, by transformers' names."""

import math

from training.config import TrainSettings


def learning_rate(settings: TrainSettings, step: int, total_steps: int) -> float:
    """Learning rate of optimizer step ``step`` (counted from 1) of ``total_steps``.

    It rises linearly over the warm-up (the first step already learns), peaks, and falls so that a step after
    the last one would have 0 (linear, cosine), or stays (constant).
    """
    warmup = round(settings.warmup_ratio * total_steps)
    if step <= warmup:
        return settings.learning_rate * step / (warmup + 1)
    progress = (step - 1 - warmup) / max(1, total_steps - warmup)
    factor = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[settings.lr_scheduler_type]
    return settings.learning_rate * factor
