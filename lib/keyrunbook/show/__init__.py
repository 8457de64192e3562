"""How the run's values look in a notebook: tables and figures, each with its text."""
