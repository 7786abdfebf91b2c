"""What the command line can do with a recommender."""
