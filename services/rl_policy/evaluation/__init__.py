"""How good a version would be, judged by episodes in which others acted."""
