"""The adversarial training: losses, penalties, players, games, the loop, and what watches it."""
