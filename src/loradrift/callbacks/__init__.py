"""What watches the training: one callback a file, none of which changes what is learned."""
