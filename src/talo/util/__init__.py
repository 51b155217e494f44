"""Small words without a floor of their own."""
