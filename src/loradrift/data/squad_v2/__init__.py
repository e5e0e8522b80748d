"""SQuAD v2: files, windows of tokens, answers, and the official evaluation."""
