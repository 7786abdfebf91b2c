"""RecommenderService, a file an idea: each rpc decodes, makes one call of the domain, encodes."""
