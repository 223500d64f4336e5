"""Issuers that others wrote, to run the package against; `running` starts them."""
