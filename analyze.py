"""Compare the finished runs and write the report; ``--help`` says more."""

import hydra
from omegaconf import DictConfig

from loradrift import cli, config

config.register()


@hydra.main(config_path="conf", config_name="analyze", execution_whitelist=cli.HYDRA_MAY_CALL)
def main(cfg: DictConfig) -> None:
    """Run the analysis that ``cfg`` describes."""
    with cli.front_door():  # Hydra would add a line of its own to an exception
        settings = config.load_analysis(cfg)
        from loradrift.report.run import run_analysis

        run_analysis(settings)


if __name__ == "__main__":
    with cli.front_door():
        main()
