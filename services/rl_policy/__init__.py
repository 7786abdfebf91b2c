"""RL policies: observations in, actions out; rewards in, better policies out."""
