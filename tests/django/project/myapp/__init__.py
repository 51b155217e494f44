"""An app of a project that used Django Q."""
