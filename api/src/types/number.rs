//! Generations are plain numbers on the wire: `#[serde(with = "number")]`.

use model::Generation;
use serde::{Deserialize, Deserializer, Serializer};

pub(in crate::types) fn serialize<S: Serializer>(
    value: &Generation,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_u64(value.0)
}

pub(in crate::types) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Generation, D::Error> {
    u64::deserialize(from).map(Generation)
}
