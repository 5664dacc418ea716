"""A data set as one HTML file, to look through in a browser without a server or a network."""
