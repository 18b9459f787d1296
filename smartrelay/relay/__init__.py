"""When a message goes, and what came of it."""
