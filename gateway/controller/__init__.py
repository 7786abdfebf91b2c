"""The controller: who is there, where calls go, and the processes that carry them."""
