"""The commands that belong to the mesh as a whole: start it, ask its models, look at what it has."""
