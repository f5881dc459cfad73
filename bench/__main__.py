"""Run all benchmarks and print their tables: ``make bench``, or ``python -m bench NAME ...`` for some."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "imports",
    "folds_search",
    "video_prepare",
    "video_clips",
    "video_memory",
    "head_search",
    "finetune_step",
    "baking",
    "explain",
    "transport",
    "strokes",
    "painter",
    "scheduling",
    "gaze_scores",
    "gaze_training",
    "gaze_inference",
    "valence_features",
    "valence_training",
    "cross_person",
    "gradcam_film",
    "people_loading",
    "looking_crops",
    "looking_index",
    "looking_epoch",
)

if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        importlib.import_module(f"bench.{name}").main()
        sys.stdout.flush()
