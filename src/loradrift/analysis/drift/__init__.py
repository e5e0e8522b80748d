"""How far each method moves the representations of the base model."""
