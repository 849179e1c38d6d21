"""Raw records to samples: options, one pass over the records, what becomes of each, the account, the report."""
