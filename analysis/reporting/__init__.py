"""An experiment as one HTML file: what was found in the folders of a run, and how surely."""
