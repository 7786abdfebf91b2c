"""What the service keeps: episodes, transitions, rewards, versions, in SQLite or PostgreSQL."""
