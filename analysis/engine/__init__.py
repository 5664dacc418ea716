"""The work behind the commands of the same names in `analysis/`; knockout and patch share `conditions`."""
