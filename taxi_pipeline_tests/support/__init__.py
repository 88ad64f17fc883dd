"""What several tests need: published files written by hand, and servers that misbehave."""
