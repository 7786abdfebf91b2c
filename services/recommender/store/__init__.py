"""What the recommender remembers: a durable log of events, and the memory that answers read."""
