//! Types of ours that are one word of text on the wire: `#[serde(with = "text")]`.

use model::{ActiveState, JobKind, JobResult, LoadState, MachineId, TargetState};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use unitfile::{UnitHash, UnitName};

pub(in crate::types) trait Word: Sized {
    fn word(&self) -> String;
    fn from_word(word: &str) -> Result<Self, String>;
}

macro_rules! parsed {
    ($($type:ty => $parse:expr,)+) => {
        $(impl Word for $type {
            fn word(&self) -> String {
                self.to_string()
            }
            fn from_word(word: &str) -> Result<Self, String> {
                $parse(word).map_err(|error| error.to_string())
            }
        })+
    };
}
parsed! {
    UnitName => UnitName::parse,
    MachineId => MachineId::parse,
    TargetState => str::parse::<TargetState>,
    UnitHash => str::parse::<UnitHash>,
}

macro_rules! any_word {
    ($($type:ty,)+) => {
        $(impl Word for $type {
            fn word(&self) -> String {
                self.as_str().to_owned()
            }
            fn from_word(word: &str) -> Result<Self, String> {
                Ok(<$type>::from_word(word))
            }
        })+
    };
}
any_word! { LoadState, ActiveState, JobResult, }

impl Word for JobKind {
    fn word(&self) -> String {
        self.as_str().to_owned()
    }
    fn from_word(word: &str) -> Result<Self, String> {
        [
            JobKind::Load,
            JobKind::Start,
            JobKind::Stop,
            JobKind::Restart,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
        .ok_or_else(|| format!("{word:?} is not a kind of job"))
    }
}

pub(in crate::types) fn serialize<T: Word, S: Serializer>(
    value: &T,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.word())
}

pub(in crate::types) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    T::from_word(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(in crate::types) mod option {
    use super::{Deserialize, Deserializer, Error, Serializer, Word};

    pub(in crate::types) fn serialize<T: Word, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(in crate::types) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        match Option::<String>::deserialize(from)? {
            Some(word) => T::from_word(&word).map(Some).map_err(D::Error::custom),
            None => Ok(None),
        }
    }
}

pub(in crate::types) mod list {
    use super::{Deserialize, Deserializer, Error, Serializer, Word};

    pub(in crate::types) fn serialize<T: Word, S: Serializer>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(Word::word))
    }

    pub(in crate::types) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let words = Vec::<String>::deserialize(from)?;
        let values = words.iter().map(|word| T::from_word(word));
        values.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}
