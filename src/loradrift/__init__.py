"""Does LoRA preserve a model's representations better than full fine-tuning?"""
