//! What a token says, as it stands in it and as the hub uses it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::verify::TokenError;

/// The longest name of a tenant, user, unit, device or domain, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What the holder of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An app on a device, for one user.
    Device,
    /// A service that writes for others.
    Publisher,
    /// A person who looks after a tenant.
    Operator,
}

impl Role {
    /// The role's name in a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A role that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such role; write device, publisher or operator")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let roles = [Self::Device, Self::Publisher, Self::Operator];
        roles.into_iter().find(|role| role.name() == name).ok_or(UnknownRole)
    }
}

/// Who stands behind a token that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The tenant; nothing of another is ever touched.
    pub tenant: String,
    /// The user.
    pub user: String,
    /// The user's unit, if it has one.
    pub unit: Option<String>,
    /// What it may do.
    pub role: Role,
    /// The one device that may use the token; None: any of the user's.
    pub device: Option<String>,
    /// The units that a publisher may write; None: all of the tenant.
    pub units: Option<Vec<String>>,
    /// The domains that a publisher may write; None: all of the tenant.
    pub domains: Option<Vec<String>>,
    /// When the token ends, in microseconds since 1970.
    pub expires_us: i64,
}

impl Identity {
    /// Whether the token may be used by the device with this id.
    pub fn allows_device(&self, device: &str) -> bool {
        self.device.as_deref().is_none_or(|bound| bound == device)
    }

    /// Whether a token for `renewed` may take this one's place on a live socket: the same in everything
    /// but its end. The session's view and rights were made from it.
    pub fn may_become(&self, renewed: &Self) -> bool {
        let sorted = |identity: &Self| {
            let mut sorted = Self { expires_us: 0, ..identity.clone() };
            for names in [&mut sorted.units, &mut sorted.domains].into_iter().flatten() {
                names.sort_unstable();
                names.dedup();
            }
            sorted
        };
        sorted(self) == sorted(renewed)
    }
}

/// The claims as they stand in a token; unknown ones are passed over.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    pub(super) sub: Option<String>,
    pub(super) tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<String>,
    pub(super) role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) units: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domains: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<Audience>,
    pub(super) exp: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<NumericDate>,
}

/// One audience or a list of them.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(super) fn includes(&self, wanted: &str) -> bool {
        match self {
            Self::One(name) => name == wanted,
            Self::Many(names) => names.iter().any(|name| name == wanted),
        }
    }
}

/// Seconds since 1970, which tokens write with or without decimals; held in microseconds.
#[derive(Clone, Copy)]
pub(super) struct NumericDate {
    pub(super) us: i64,
}

impl NumericDate {
    pub(super) fn from_secs(secs: i64) -> Self {
        Self { us: secs.saturating_mul(1_000_000) }
    }
}

impl Serialize for NumericDate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.us.div_euclid(1_000_000))
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        if let Some(secs) = number.as_i64() {
            return Ok(Self::from_secs(secs));
        }
        let secs = number.as_f64().unwrap_or(f64::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "beyond the range, the conversion stops at its end"
        )]
        Ok(Self { us: (secs * 1e6) as i64 })
    }
}

impl Claims {
    /// The identity, if every name that it needs is there and fit to be one.
    pub(super) fn into_identity(self) -> Result<Identity, TokenError> {
        let names = self.units.iter().flatten().chain(self.domains.iter().flatten());
        let mut names = names.chain(&self.unit).chain(&self.device).chain(&self.sub).chain(&self.tenant);
        if !names.all(|name| is_name(name)) {
            return Err(TokenError::BadName);
        }
        let role = self.role.ok_or(TokenError::Missing("role"))?;
        Ok(Identity {
            tenant: self.tenant.ok_or(TokenError::Missing("tenant"))?,
            user: self.sub.ok_or(TokenError::Missing("sub"))?,
            unit: self.unit,
            role: role.parse().map_err(|UnknownRole| TokenError::UnknownRole)?,
            device: self.device,
            units: self.units,
            domains: self.domains,
            expires_us: self.exp.ok_or(TokenError::Missing("exp"))?.us,
        })
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}
