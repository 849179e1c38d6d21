"""Everything a person looks at; verbs yield events, screens consume them."""
