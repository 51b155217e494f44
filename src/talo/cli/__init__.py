"""The command line: ``talo -A proj worker`` and its siblings.

Owns what a person or a script types and reads. Nothing but argument parsing, wording and layout stands here: the work
is done by ``worker``, ``control`` and the app. One module per command, imported when it is called; ``cli.main`` is the
entrance."""
