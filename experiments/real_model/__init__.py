"""An experiment with a real model: what each variant teaches it about real questions."""
