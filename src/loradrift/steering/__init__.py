"""A persona steered by a prompt, in activation space and in weight space.

What analyses and training read of it (directions, vectors) answers no prompt.
"""
