//! The HTTP API: types, server, client.
