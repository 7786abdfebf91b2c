"""The recommender's algorithms, each a small file with its equations and their source."""
