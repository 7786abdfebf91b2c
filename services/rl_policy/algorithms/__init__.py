"""Learning algorithms, one readable file each, and the policies that they make."""
