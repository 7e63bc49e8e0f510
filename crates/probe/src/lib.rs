//! A client that hammers an address and keeps account of every request.
