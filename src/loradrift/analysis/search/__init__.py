"""What the searches of a study found."""
