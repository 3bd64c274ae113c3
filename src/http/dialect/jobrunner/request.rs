//! The body of `POST /payload`.

use crate::http::dialect::go::GoFields;

/// A payload as the client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The client's own name for it.
    pub id: String,
    /// The bytes that the command finds in its request file.
    pub data: Vec<u8>,
}

impl Payload {
    /// Reads a body. Errors: it is no JSON object, or a value has the wrong type.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let fields = GoFields::first(body)?;
        Ok(Self {
            id: fields.string("id")?,
            data: fields.bytes("data")?,
        })
    }

    /// Checks that both keys are there. Errors: the text for the client.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self { id, .. } if id.is_empty() => Err("Json key 'id' missing or empty"),
            // It becomes the value of a variable.
            Self { id, .. } if id.contains('\0') => Err("Json key 'id' contains a NUL character"),
            Self { data, .. } if data.is_empty() => Err("Json key 'data' missing or empty"),
            Self { .. } => Ok(()),
        }
    }
}
