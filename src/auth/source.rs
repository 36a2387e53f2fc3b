//! Where a set of public keys is read: over HTTP or from a file.
//!
//! Bounded in time and size, so that a broken issuer costs the hub neither. Errors name no more of the
//! address than its owner wrote into the settings, and nothing of what was read.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::jwks::NotASet;

/// How long the issuer has for its answer. Shorter than a hello may take, so that a device hears why.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest set. A key takes about a kilobyte with its certificate.
const MAX_SET_BYTES: usize = 512 * 1024;
/// How often the issuer may send the hub elsewhere.
const MAX_REDIRECTS: usize = 3;

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody answered, or the answer broke off.
    #[error("{0}")]
    Http(String),
    /// The answer is no success.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// No answer in time.
    #[error("no answer within {} s", FETCH_TIMEOUT.as_secs())]
    TooSlow,
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// More than a set of keys needs.
    #[error("the set is larger than {MAX_SET_BYTES} bytes")]
    TooLarge,
    /// It is something else.
    #[error(transparent)]
    NotASet(#[from] NotASet),
}

/// Why an address cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not an address of the web.
    #[error("it must begin with https:// or http:// and name a host")]
    NotAnAddress,
    /// The system's certificates cannot be read.
    #[error("no HTTPS is possible: {0}; are the system's certificates (ca-certificates) there?")]
    Client(String),
}

/// Where a set is read.
pub(super) enum Source {
    Web { client: Client, address: Url },
    File(PathBuf),
}

impl Source {
    /// The set at this address.
    pub(super) fn web(address: &str) -> Result<Self, AddressError> {
        let address = Url::parse(address).map_err(|_| AddressError::NotAnAddress)?;
        if !matches!(address.scheme(), "http" | "https") || !address.has_host() {
            return Err(AddressError::NotAnAddress);
        }
        let client = Client::builder()
            .https_only(address.scheme() == "https")
            .redirect(Policy::limited(MAX_REDIRECTS))
            // Minutes lie between two requests; a connection kept so long is mostly dead.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("synchub/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| AddressError::Client(with_causes(&error)))?;
        Ok(Self::Web { client, address })
    }

    /// The set as it stands now.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, async {
            match self {
                Self::Web { client, address } => from_web(client, address.clone()).await,
                Self::File(path) => from_file(path.clone()).await,
            }
        });
        fetched.await.unwrap_or(Err(FetchError::TooSlow))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What stands behind the path, or before the host, may be a password.
            Self::Web { address, .. } => {
                write!(f, "{}{}", address.origin().ascii_serialization(), address.path())
            }
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

async fn from_web(client: &Client, address: Url) -> Result<Vec<u8>, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Http(with_causes(&error.without_url()));
    let mut answer = client.get(address).send().await.map_err(failed)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let mut set = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(failed)? {
        if set.len() + part.len() > MAX_SET_BYTES {
            return Err(FetchError::TooLarge);
        }
        set.extend_from_slice(&part);
    }
    Ok(set)
}

async fn from_file(path: PathBuf) -> Result<Vec<u8>, FetchError> {
    let mut set = Vec::new();
    File::open(path).await?.take(MAX_SET_BYTES as u64 + 1).read_to_end(&mut set).await?;
    if set.len() > MAX_SET_BYTES { Err(FetchError::TooLarge) } else { Ok(set) }
}

/// The library's own text says little more than that there was an error.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
