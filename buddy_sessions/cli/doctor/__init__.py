"""The checks of `doctor`: which requests they need, what they find in the responses, and a report without names."""
