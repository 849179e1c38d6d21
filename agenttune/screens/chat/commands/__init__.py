"""What lines that begin with a slash do: a file for each kind of thing a person wants, and one table of all."""
