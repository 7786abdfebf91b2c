"""Public data for demonstration, tests and measurements; fetched, never committed."""
