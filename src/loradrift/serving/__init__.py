"""What serving adapters costs: ``benchmark=serving``, and ``benchmark=export``, which it needs."""

from loradrift.config.benchmarks import Benchmark, add_benchmark
from loradrift.serving.config import ExportConfig, ServingBenchmarkConfig

add_benchmark(
    Benchmark("serving", ServingBenchmarkConfig, "loradrift.serving.bench:run", analysis="serving")
)
add_benchmark(Benchmark("export", ExportConfig, "loradrift.serving.export:run"))
