"""How each method changes the weights of the base model."""
