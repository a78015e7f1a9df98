"""Who answers: anything that continues token sequences turn by turn."""
