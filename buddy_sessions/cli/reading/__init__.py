"""Where the data of a command comes from: the API or a database."""
