"""The work behind the commands of the same names in `analysis/`."""
