"""The official SQuAD v2 figures of any system's predictions."""
