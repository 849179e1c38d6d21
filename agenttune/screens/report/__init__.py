"""Reports: the page and pictures of a conversion, the tables and plots of an evaluation."""
