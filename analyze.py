"""Compare the finished runs and write the report; ``--help`` says more."""

import sys

import hydra
from omegaconf import DictConfig

from loradrift import config
from loradrift.analysis.registry import register_all, run_analysis
from loradrift.cli.entry_point import HYDRA_MAY_CALL, entry_point, quote_values

register_all()


@hydra.main(config_path="conf", config_name="analyze", execution_whitelist=HYDRA_MAY_CALL)
def main(cfg: DictConfig) -> None:
    """Run the analysis that ``cfg`` describes."""
    with entry_point():  # Hydra would add a line of its own to an exception
        run_analysis(config.load_analysis(cfg))


if __name__ == "__main__":
    with entry_point():
        quote_values(sys.argv)
        main()
