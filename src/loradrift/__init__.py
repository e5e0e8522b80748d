"""Does LoRA preserve a model's representations better than full fine-tuning?

Results as data frames: :func:`runs_df`, :func:`drift_df` and :func:`predictions_df` read run
folders, :func:`adapter` the factors of an adapter. ``import loradrift`` alone loads none of what
they need.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["adapter", "drift_df", "predictions_df", "runs_df"]

if TYPE_CHECKING:
    from loradrift.analysis.frames import adapter, drift_df, predictions_df, runs_df
else:  # hidden from type checkers: to them every misspelt name would exist

    def __getattr__(name: str) -> Any:
        """One of ``__all__``, which is imported when it is first asked for."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from loradrift.analysis import frames

        return getattr(frames, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
