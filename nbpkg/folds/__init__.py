"""Deal sessions into folds that resemble each other, never splitting a participant."""

from nbpkg.folds.objective import Durations, drop_sessions_without_video, score, strata_durations
from nbpkg.folds.search import FoldSearch, check_folds, search_folds
from nbpkg.folds.statistics import PixelSums, fold_statistics, fold_statistics_json, stratified_csv, sum_pixels

__all__ = [
    "Durations",
    "FoldSearch",
    "PixelSums",
    "check_folds",
    "drop_sessions_without_video",
    "fold_statistics",
    "fold_statistics_json",
    "score",
    "search_folds",
    "strata_durations",
    "stratified_csv",
    "sum_pixels",
]
