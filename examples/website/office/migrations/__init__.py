"""The tables, and the customers that the demo starts with."""
