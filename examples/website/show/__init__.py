"""What the demo needs to act as the visitors of the site; no part of the site itself."""
