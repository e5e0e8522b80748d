"""What takes seconds to import; one process does it, and every worker is a fork of that one."""

import gc
from importlib import import_module

MODULES = (
    "loradrift.training.run",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "peft",
)

gc.disable()  # nothing of this ever becomes garbage, and looking for some takes a sixth of the time
for module in MODULES:
    import_module(module)
gc.enable()
gc.freeze()  # so that no worker copies these pages by looking again
