"""The contract's messages and the domain's own terms, both ways."""
