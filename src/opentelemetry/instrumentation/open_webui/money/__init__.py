"""What a call costs: prices of the operator, of the list, and what was used of each unit."""
