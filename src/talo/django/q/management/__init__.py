"""Management commands under the names that Django Q gives them."""
