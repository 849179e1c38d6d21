"""What the web gives a tool: one door for requests, and pages as plain text."""
