"""Steering what runs, from outside: dead letters, periodic tasks.

Owns what command line, dashboard and code may do to a running system beyond sending tasks, in one place for all of
them."""
