"""How a message comes in."""
