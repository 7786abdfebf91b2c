"""The recommender: events in, recommendations out, in the same second."""
