"""What every other part uses: arguments, counts, workers, regions."""
