"""How good recommendations are, measured on what was held back: full rankings, no sampled negatives."""
