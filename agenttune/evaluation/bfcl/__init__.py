"""The Berkeley Function Calling Leaderboard: its files, its rules (reproduced, to be compared with), and the steps it asks for."""
