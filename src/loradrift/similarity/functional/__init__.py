"""The measures as pure functions of two row-aligned matrices.

Every measure, and every distance, takes activations (N, D) and (N, E) of any floating dtype, whose
rows belong together. It returns NaN if a side has no variance, and raises ValueError if the sides
are not aligned, finite matrices with at least 4 rows. What a function's own text says comes on top.
"""
