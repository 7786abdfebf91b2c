"""Text to token ids and back, by the tokenizer of any model of the catalogue."""
