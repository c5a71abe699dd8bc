"""`BuddyClient` and its options."""
