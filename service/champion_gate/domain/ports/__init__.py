"""What `flow` asks of the outside, as Protocols. `bootstrap/vendors.py` picks who fulfils them.

Every call that leaves the process may raise `VendorUnavailableError` (retryable), `VendorRefusedError`
or `VendorNotFoundError` (final); only what is particular to a method is said there.
"""
