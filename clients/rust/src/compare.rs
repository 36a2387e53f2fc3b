//! Proves that the copy holds what the hub holds, or that it does not.

use synchub_protocol::{Digest, ErrorCode};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::retry::{StopReason, Stopped};
use crate::session::{Compared, Verdict};

/// How often a digest is asked for while the hub moves on under the comparison.
const ATTEMPTS: usize = 20;
/// How often the two have to differ: a page of a replay may show a record newer than the place after it.
const CONFIRMED: usize = 3;

/// What a comparison with the hub came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What each subscribed domain adds up to on both sides.
    pub domains: Vec<Compared>,
}

impl Comparison {
    /// Whether both sides agree in every domain.
    pub fn is_equal(&self) -> bool {
        self.domains.iter().all(|one| one.hub == one.copy)
    }
}

/// Why the copy could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The client has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The hub refused to answer.
    #[error("the hub refused to give a digest ({code}): {message}")]
    Refused {
        /// The code to act on.
        code: ErrorCode,
        /// A sentence for the app's author.
        message: String,
    },
    /// Changes came faster than the two could be compared.
    #[error("the hub never stood still long enough to be compared with; try again when less changes")]
    Moving,
}

impl Client {
    /// What the copy of a domain adds up to, by itself.
    pub fn digest(&self, domain: &str) -> Digest {
        self.shared().lock().state.copy().digest(domain)
    }

    /// Asks the hub what the subscribed domains add up to, and holds it against the copy at the same place
    /// of the log. Waits until the client is connected and has caught up, with what is held back (C9) too; edits that wait are no
    /// part of it.
    pub async fn compare(&self) -> Result<Comparison, CompareError> {
        let mut differed = 0;
        for _ in 0..ATTEMPTS {
            match self.compare_once().await? {
                Verdict::Equal(domains) => return Ok(Comparison { domains }),
                Verdict::Different(domains) => {
                    differed += 1;
                    if differed == CONFIRMED {
                        return Ok(Comparison { domains });
                    }
                }
                Verdict::Passed => {}
                Verdict::Refused(error) => {
                    return Err(CompareError::Refused { code: error.code, message: error.message });
                }
            }
        }
        Err(CompareError::Moving)
    }

    async fn compare_once(&self) -> Result<Verdict, Stopped> {
        let (sender, verdict) = oneshot::channel();
        {
            let mut inner = self.shared().lock();
            if let Some(reason) = inner.stopped.clone() {
                return Err(Stopped { reason });
            }
            let number = inner.state.compare();
            inner.comparing.insert(number, sender);
        }
        self.shared().woken.notify_one();
        verdict.await.map_err(|_| {
            let reason = self.shared().lock().stopped.clone().unwrap_or(StopReason::Asked);
            Stopped { reason }
        })
    }
}
