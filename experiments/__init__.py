"""What is run to learn something; the rest of the project never uses it."""
