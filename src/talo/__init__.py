"""Talo, a distributed task queue that loses nothing."""
