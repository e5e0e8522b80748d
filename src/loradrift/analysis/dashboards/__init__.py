"""What a W&B workspace and report show of a study."""
