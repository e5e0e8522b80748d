"""The measures as pure functions of two row-aligned matrices."""
