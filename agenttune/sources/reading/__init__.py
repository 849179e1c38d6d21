"""What several sources share: files of records, tables, compression, JSON and Python literals as text."""
