"""How SMTP is spoken, and nothing above knows how."""
