"""From the files that runs leave behind to tables; never a training."""
