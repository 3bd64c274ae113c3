//! Methods of requests.

use std::fmt;

/// The method of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Show.
    Get,
    /// As GET, without the body. Handlers answer it as they answer GET; the wire leaves the body out.
    Head,
    /// Act.
    Post,
    /// Create or replace.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
    /// Ask for the methods of a path.
    Options,
    /// Anything else.
    Other(Box<str>),
}

impl Method {
    /// Reads a method's name; they are case-sensitive (RFC 9110 section 9.1).
    pub fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other(name.into()),
        }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other(name) => name,
        }
    }

    /// True for those that change nothing (RFC 9110 section 9.2.1).
    pub fn is_safe(&self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Options => true,
            Self::Post | Self::Put | Self::Patch | Self::Delete | Self::Other(_) => false,
        }
    }

    /// True for GET and HEAD, which a handler answers alike.
    pub fn is_get(&self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
