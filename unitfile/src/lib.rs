//! A unit file as a value: parse, print, hash, names, specifiers and [X-Fleet] requirements.
