"""The page of the command `report`: what it reads, computes and draws."""
