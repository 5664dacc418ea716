"""The made-up world: entities and their relations, articles about them, keys and values, padding."""
