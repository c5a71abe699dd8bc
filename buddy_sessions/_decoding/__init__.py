"""Decoding of response bodies into models, and models into JSON values."""
