"""A persona steered by a prompt, in activation space and in weight space: ``benchmark=steering``.

What analyses and training read of it (directions, vectors) answers no prompt.
"""

from loradrift.config.benchmarks import Benchmark, add_benchmark
from loradrift.steering.config import SteeringBenchmarkConfig, SteeringCostConfig

add_benchmark(Benchmark("steering", SteeringBenchmarkConfig, "loradrift.steering.bench:run"))
add_benchmark(Benchmark("steering_cost", SteeringCostConfig, "loradrift.steering.cost:run"))
