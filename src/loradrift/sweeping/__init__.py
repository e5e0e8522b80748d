"""Optuna sweeps that prune and resume."""
