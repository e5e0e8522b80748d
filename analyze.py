"""Compare the finished runs and write the report; ``--help`` says more."""

import hydra
from omegaconf import DictConfig

from loradrift import config
from loradrift.cli.entry_point import HYDRA_MAY_CALL, entry_point

config.register()


@hydra.main(config_path="conf", config_name="analyze", execution_whitelist=HYDRA_MAY_CALL)
def main(cfg: DictConfig) -> None:
    """Run the analysis that ``cfg`` describes."""
    with entry_point():  # Hydra would add a line of its own to an exception
        settings = config.load_analysis(cfg)
        from loradrift.analysis.run import run_analysis

        run_analysis(settings)


if __name__ == "__main__":
    with entry_point():
        main()
