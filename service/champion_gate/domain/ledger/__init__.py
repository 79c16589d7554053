"""The ledger: its chain, its lines, its copies outside the database, and receipts."""
