//! What a client says of itself while the session runs: its device's state, and a token that renews
//! the session's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use synchub_protocol::client::{AppState, NetworkQuality, Settings, Token};
use synchub_protocol::server::{SettingsApplied, TokenAccepted};
use synchub_protocol::{CloseReason, ErrorCode, ServerFrame, Timestamp};
use tokio::time::Instant;

use super::connected::Session;
use crate::auth::{Identity, Role, TokenError};
use crate::observe::CatchUpCause;

/// The state of a device, as far as it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OwnState {
    /// Whether only what is urgent is wanted at once.
    pub(super) battery_saver: bool,
    pub(super) network_quality: NetworkQuality,
    /// In the background works like battery saver.
    pub(super) app_state: AppState,
}

impl OwnState {
    /// Whether what is below high is held back (C9, P3).
    pub(super) fn saves_battery(&self) -> bool {
        self.battery_saver || self.app_state == AppState::Background
    }

    /// Whether what is urgent goes before the rest (BW4).
    pub(super) fn is_on_poor_link(&self) -> bool {
        self.network_quality.as_str() == "poor"
    }

    /// Takes what was said; the rest stays.
    fn take(&mut self, settings: &Settings) {
        self.battery_saver = settings.battery_saver.unwrap_or(self.battery_saver);
        self.app_state = settings.app_state.unwrap_or(self.app_state);
        if let Some(quality) = &settings.network_quality {
            self.network_quality = quality.clone();
        }
    }
}

/// A token that may renew the session's.
#[derive(Debug)]
pub(super) struct Verified {
    /// The request's id.
    id: u64,
    outcome: Result<Identity, TokenError>,
}

/// A token that waits for its key, if there is one.
#[derive(Default)]
pub(super) struct Renewal(Option<BoxFuture<'static, Verified>>);

impl Renewal {
    /// Waits until its key was asked for; without a token for ever. Safe to cancel.
    pub(super) async fn next(&mut self) -> Verified {
        let Some(waiting) = &mut self.0 else { return std::future::pending().await };
        let verified = waiting.await;
        self.0 = None;
        verified
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Renewal").field(&self.0.is_some()).finish()
    }
}

impl Session {
    /// Takes the device's new state and says what holds now.
    pub(super) fn on_settings(&mut self, settings: &Settings) -> Result<(), CloseReason> {
        if self.identity.role != Role::Device {
            return self.forbid(Some(settings.id), "only devices have settings");
        }
        let saved = self.own_state.saves_battery();
        self.own_state.take(settings);
        if let Some(quality) = &settings.network_quality {
            self.batch_size.declare(quality);
        }
        let is_held = self.progress.is_delayed() || !self.pushes.waiting.is_empty();
        if saved && is_held && !self.own_state.saves_battery() {
            self.catch_up(CatchUpCause::Settings);
        }
        let OwnState { battery_saver, network_quality, app_state } = self.own_state.clone();
        self.say(&ServerFrame::SettingsApplied(SettingsApplied {
            id: settings.id,
            battery_saver,
            network_quality,
            app_state,
        }))
    }

    /// Renews the session's token; one that is no good changes nothing. The session goes on while a
    /// token's key is asked for.
    pub(super) fn on_token(&mut self, token: Token) -> Result<(), CloseReason> {
        let now_us = self.deps.clock.now_us();
        match self.deps.verifier.verify_at_once(&token.token, now_us) {
            Err(TokenError::UnknownKey) if self.renewal.0.is_some() => {
                let message = "another token waits for its key; wait for that answer";
                self.refuse(Some(token.id), ErrorCode::TooManyInFlight, message)
            }
            Err(TokenError::UnknownKey) => {
                let deps = Arc::clone(&self.deps);
                self.renewal.0 = Some(Box::pin(async move {
                    Verified { id: token.id, outcome: deps.verifier.verify(&token.token, now_us).await }
                }));
                Ok(())
            }
            outcome => self.on_verified(Verified { id: token.id, outcome }),
        }
    }

    /// Takes the place of the old token, if the new one is good for that.
    pub(super) fn on_verified(&mut self, Verified { id, outcome }: Verified) -> Result<(), CloseReason> {
        let now_us = self.deps.clock.now_us();
        let renewed = match outcome {
            Ok(renewed) => renewed,
            Err(error) if error.is_temporary() => {
                return self.refuse(Some(id), ErrorCode::Unavailable, error.to_string());
            }
            Err(error) => return self.forbid(Some(id), &format!("the token was refused: {error}")),
        };
        if !self.identity.may_become(&renewed) {
            let message =
                "the token names another tenant, user, unit, device, role or rights; reconnect with it";
            return self.forbid(Some(id), message);
        }
        let left = u64::try_from(renewed.expires_us - now_us).unwrap_or(0);
        self.timers.renew(Instant::now() + Duration::from_micros(left));
        let expires_at = Timestamp(renewed.expires_us);
        self.identity = renewed;
        self.say(&ServerFrame::TokenAccepted(TokenAccepted { id, expires_at }))
    }
}
