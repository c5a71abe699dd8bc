"""HTTP: one authenticated GET, its retries, the rate limit, the token and the URLs."""
